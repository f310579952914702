"""What a node learns about its own keys when a ring changes: the ranges it lost, the ranges it gained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swimring.ring import Move

    from .rebalancer import RingSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class RangesLost:
    """This node owns these ranges of a service no more; each says who does, or None if nobody offers it any more."""

    service: str
    moves: tuple[Move, ...]
    """In order, merged where neighbours went to the same node."""

    @property
    def share(self) -> float:
        """The fraction of all keys that they hold."""
        return sum(move.share for move in self.moves)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangesGained:
    """This node owns these ranges of a service now; each says who did before, or None if nobody offered it."""

    service: str
    moves: tuple[Move, ...]
    """In order, merged where neighbours came from the same node."""

    @property
    def share(self) -> float:
        """The fraction of all keys that they hold."""
        return sum(move.share for move in self.moves)


def moved_here(old: RingSnapshot, new: RingSnapshot, name: str) -> Iterator[RangesLost | RangesGained]:
    """What moved from and to the node ``name`` between two snapshots, for each service in the order of their names."""
    for service in sorted(old.rings.keys() | new.rings.keys()):
        if not any(name in snapshot.rings.get(service, ()) for snapshot in (old, new)):
            continue
        moves = new.moved_since(old, service)
        lost = tuple(move for move in moves if move.source == name)
        gained = tuple(move for move in moves if move.target == name)
        if lost:
            yield RangesLost(service=service, moves=lost)
        if gained:
            yield RangesGained(service=service, moves=gained)
