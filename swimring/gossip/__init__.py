"""Runs the membership over a network: one nursery, one task per duty."""

from .gossiper import Gossiper, GossipStatistics, open_gossiper
from .subscriptions import Subscription

__all__ = ["GossipStatistics", "Gossiper", "Subscription", "open_gossiper"]
