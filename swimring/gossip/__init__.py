"""Runs the membership over a network: one nursery, one task per duty."""

from .broadcasting import BroadcastEvent, BroadcastSubscription, Missed
from .envelopes import Envelopes
from .gossiper import Gossiper, open_gossiper
from .statistics import GossipStatistics
from .subscriptions import Subscription

__all__ = [
    "BroadcastEvent",
    "BroadcastSubscription",
    "Envelopes",
    "GossipStatistics",
    "Gossiper",
    "Missed",
    "Subscription",
    "open_gossiper",
]
