"""What happens when keys change hands: the rings follow the membership."""

from .following import Follower
from .moves import RangesGained, RangesLost, moved_here
from .progress import HandOff, Progress
from .rebalancer import CutFilter, MembershipView, Rebalancer, RingSnapshot
from .settling import DRAIN_PATIENCE, STEP, STEP_INTERVAL, Settling, somebody_drains, takes_steps
from .tracking import Moved, Reason, ReplicaChanged, Tracker, Tracking

__all__ = [
    "DRAIN_PATIENCE",
    "STEP",
    "STEP_INTERVAL",
    "CutFilter",
    "Follower",
    "HandOff",
    "MembershipView",
    "Moved",
    "Progress",
    "RangesGained",
    "RangesLost",
    "Reason",
    "Rebalancer",
    "ReplicaChanged",
    "RingSnapshot",
    "Settling",
    "Tracker",
    "Tracking",
    "moved_here",
    "somebody_drains",
    "takes_steps",
]
