"""What happens when keys change hands: the rings follow the membership."""

from .following import Follower
from .rebalancer import CutFilter, MembershipView, Rebalancer, RingSnapshot

__all__ = ["CutFilter", "Follower", "MembershipView", "Rebalancer", "RingSnapshot"]
