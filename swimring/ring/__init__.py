"""Who owns a key: a consistent hash ring as an immutable value, and the difference between two of them."""

from .changes import Move, Reassignment, moved_ranges, reassigned_ranges
from .hashring import CIRCLE, DEFAULT_POINTS, MAX_WEIGHT, HashRing, ring_seed

__all__ = [
    "CIRCLE",
    "DEFAULT_POINTS",
    "MAX_WEIGHT",
    "HashRing",
    "Move",
    "Reassignment",
    "moved_ranges",
    "reassigned_ranges",
    "ring_seed",
]
