"""What happens when keys change hands: the rings follow the membership, and the state of the keys follows the rings."""

from .fences import Standing, next_fence
from .following import Follower
from .holdings import Copy, Holdings, Verdict
from .moves import RangesGained, RangesLost, moved_here
from .own import Own
from .ownership import OpenKey, Ownership, OwnershipStatistics, open_ownership
from .progress import HandOff, Progress
from .rebalancer import CutFilter, MembershipView, Rebalancer, RingSnapshot
from .settling import DRAIN_PATIENCE, STEP, STEP_INTERVAL, Settling, somebody_drains, takes_steps
from .states import Cause, State
from .tracking import Moved, Reason, ReplicaChanged, Tracker, Tracking

__all__ = [
    "DRAIN_PATIENCE",
    "STEP",
    "STEP_INTERVAL",
    "Cause",
    "Copy",
    "CutFilter",
    "Follower",
    "HandOff",
    "Holdings",
    "MembershipView",
    "Moved",
    "OpenKey",
    "Own",
    "Ownership",
    "OwnershipStatistics",
    "Progress",
    "RangesGained",
    "RangesLost",
    "Reason",
    "Rebalancer",
    "ReplicaChanged",
    "RingSnapshot",
    "Settling",
    "Standing",
    "State",
    "Tracker",
    "Tracking",
    "Verdict",
    "moved_here",
    "next_fence",
    "open_ownership",
    "somebody_drains",
    "takes_steps",
]
