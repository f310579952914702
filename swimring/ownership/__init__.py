"""What happens when keys change hands: the rings follow the membership, and the state of the keys follows the rings."""

from .fences import Standing, next_fence
from .following import Follower
from .holdings import Copy, Holdings, Verdict
from .moves import RangesGained, RangesLost, moved_here
from .own import Own
from .ownership import OpenKey, Ownership, OwnershipStatistics, open_ownership
from .rebalancer import CutFilter, MembershipView, Rebalancer, RingSnapshot
from .states import Cause, State
from .tracking import Moved, Reason, ReplicaChanged, Tracker, Tracking

__all__ = [
    "Cause",
    "Copy",
    "CutFilter",
    "Follower",
    "Holdings",
    "MembershipView",
    "Moved",
    "OpenKey",
    "Own",
    "Ownership",
    "OwnershipStatistics",
    "RangesGained",
    "RangesLost",
    "Reason",
    "Rebalancer",
    "ReplicaChanged",
    "RingSnapshot",
    "Standing",
    "State",
    "Tracker",
    "Tracking",
    "Verdict",
    "moved_here",
    "next_fence",
    "open_ownership",
]
