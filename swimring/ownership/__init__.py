"""What happens when keys change hands: the rings follow the membership."""

from .following import Follower
from .moves import RangesGained, RangesLost, moved_here
from .rebalancer import CutFilter, MembershipView, Rebalancer, RingSnapshot
from .tracking import Moved, Reason, ReplicaChanged, Tracker, Tracking

__all__ = [
    "CutFilter",
    "Follower",
    "MembershipView",
    "Moved",
    "RangesGained",
    "RangesLost",
    "Reason",
    "Rebalancer",
    "ReplicaChanged",
    "RingSnapshot",
    "Tracker",
    "Tracking",
    "moved_here",
]
