"""Which handler: patterns over messages, and the router that finds the most specific one."""

from .pattern import MAX_FIELDS, Pattern
from .router import Match, Order, Router

__all__ = ["MAX_FIELDS", "Match", "Order", "Pattern", "Router"]
