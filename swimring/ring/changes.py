"""Two rings to the ranges of the circle that changed hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from swimring.errors import ConfigError

from .hashring import CIRCLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .hashring import HashRing

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One range of positions whose owner differs between two rings: ``start <= position < end``.

    ``0 <= start < end <= 2**64``: a range that leads over the top of the circle is two moves, one up to 2**64 and
    one from 0, so that a plain comparison decides. Positions in the range had one owner and have one owner.
    """

    start: int
    """The first position that moved."""
    end: int
    """One past the last position that moved."""
    source: str | None
    """The owner before; None if the old ring was empty."""
    target: str | None
    """The owner now; None if the new ring is empty."""

    def __contains__(self, position: object) -> bool:
        """Whether ``position`` (see `HashRing.position`) is one of those that moved."""
        return isinstance(position, int) and self.start <= position < self.end

    @property
    def share(self) -> float:
        """The fraction of the circle that this range covers."""
        return (self.end - self.start) / CIRCLE


def moved_ranges(old: HashRing, new: HashRing) -> tuple[Move, ...]:
    """Every range whose owner differs between ``old`` and ``new``, in order, neighbours of equal owners merged.

    The ranges do not overlap; a key moved if and only if its position is in one of them.

    Raises:
        ConfigError: the rings have different seeds, so that their positions cannot be compared.
    """
    if old.seed != new.seed:
        raise ConfigError("rings", "two seeds", "only rings of one cluster can be compared")
    moves: list[Move] = []
    for start, end, source, target in _overlaps(_whole_circle(old), _whole_circle(new)):
        if source == target:
            continue
        last = moves[-1] if moves else None
        if last and last.end == start and (last.source, last.target) == (source, target):
            moves[-1] = Move(start=last.start, end=end, source=source, target=target)
        else:
            moves.append(Move(start=start, end=end, source=source, target=target))
    return tuple(moves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassignment:
    """One range of positions whose owner or copies differ between two rings: ``start <= position < end``.

    Bounds are those of a `Move`.
    """

    start: int
    """The first position."""
    end: int
    """One past the last position."""
    before: tuple[str, ...]
    """The owner and then the nodes of the copies, nearest first, in the old ring; fewer if there were not so many."""
    after: tuple[str, ...]
    """The same in the new ring."""

    def __contains__(self, position: object) -> bool:
        """Whether ``position`` (see `HashRing.position`) is one of them."""
        return isinstance(position, int) and self.start <= position < self.end


def reassigned_ranges(old: HashRing, new: HashRing, *, copies: int) -> tuple[Reassignment, ...]:
    """Every range whose owner or whose nearest ``copies`` replicas differ, in order, equal neighbours merged.

    Takes time in proportion to the points of both rings, however much has changed.

    Raises:
        ConfigError: the rings have different seeds, so that their positions cannot be compared.
    """
    if old.seed != new.seed:
        raise ConfigError("rings", "two seeds", "only rings of one cluster can be compared")
    found: list[Reassignment] = []
    for start, end, before, after in _overlaps(old.spans(1 + copies), new.spans(1 + copies)):
        if before == after:
            continue
        last = found[-1] if found else None
        if last and last.end == start and (last.before, last.after) == (before, after):
            found[-1] = Reassignment(start=last.start, end=end, before=before, after=after)
        else:
            found.append(Reassignment(start=start, end=end, before=before, after=after))
    return tuple(found)


def _overlaps(before: Iterator[tuple[int, _T]], after: Iterator[tuple[int, _T]]) -> Iterator[tuple[int, int, _T, _T]]:
    """Cut the circle where either of two coverings of it is cut: for each piece, what it has in both."""
    old_end, source = next(before)
    new_end, target = next(after)
    start = 0
    while True:
        end = min(old_end, new_end)
        yield start, end, source, target
        if end == CIRCLE:
            return
        start = end
        if old_end == end:
            old_end, source = next(before)
        if new_end == end:
            new_end, target = next(after)


def _whole_circle(ring: HashRing) -> Iterator[tuple[int, str | None]]:
    if not ring:
        yield CIRCLE, None
    for _, end, owner in ring.ranges():
        yield end, owner
