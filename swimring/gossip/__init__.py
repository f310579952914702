"""Runs the membership over a network: one nursery, one task per duty."""

from .gossiper import Gossiper, open_gossiper
from .statistics import GossipStatistics
from .subscriptions import Subscription

__all__ = ["GossipStatistics", "Gossiper", "Subscription", "open_gossiper"]
