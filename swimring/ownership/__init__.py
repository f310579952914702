"""What happens when keys change hands: the rings follow the membership."""

from .rebalancer import CutFilter, MembershipView, Rebalancer, RingSnapshot

__all__ = ["CutFilter", "MembershipView", "Rebalancer", "RingSnapshot"]
