"""What happens when keys change hands: the rings follow the membership, and the state of the keys follows the rings."""

from .fences import Standing, next_fence
from .holdings import Copy, Holdings, Verdict
from .own import Own
from .ownership import OpenKey, Ownership, OwnershipStatistics, open_ownership
from .rebalancer import CutFilter, MembershipView, Rebalancer, RingSnapshot
from .states import Cause, State

__all__ = [
    "Cause",
    "Copy",
    "CutFilter",
    "Holdings",
    "MembershipView",
    "OpenKey",
    "Own",
    "Ownership",
    "OwnershipStatistics",
    "Rebalancer",
    "RingSnapshot",
    "Standing",
    "State",
    "Verdict",
    "next_fence",
    "open_ownership",
]
