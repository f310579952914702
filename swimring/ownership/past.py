"""The rings of the last while: who may still hold what moved since."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final

from swimring.swim import FULL_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swimring.identity import Key
    from swimring.ring import HashRing
    from swimring.swim import Standing

    from .rebalancer import RingSnapshot

MAX_RINGS: Final = 64
MAX_POINTS: Final = 500_000
"""Of all rings of a service that are remembered; 16 of them are, however many points they have."""
_FEWEST: Final = 16
UNSETTLED: Final = 60.0
"""Seconds after a change during which some scope may still be open where a key was before."""
_MOST_FOUND: Final = 16_384
_OWNERS: Final = -1


class PastRings:
    """The last 64 different rings of each service, with the present one; fewer, but 16, if they are large."""

    def __init__(self, *, now: float) -> None:
        """Nothing is known of what was before ``now``."""
        self._rings: dict[str, _Rings] = {}
        self._changed: dict[str, float] = {}
        self._came: dict[str, float] = {}
        self._joined_again = -math.inf
        self._began = now

    def note(self, snapshot: RingSnapshot, *, now: float) -> None:
        """Remember what is published."""
        new = [one for name, one in snapshot.members.items() if name not in self._came]
        if self._came and any(_is_settled(one.metadata.standing) for one in new):
            self._joined_again = now
        self._came = {name: self._came.get(name, now) for name in snapshot.members}
        for service, ring in snapshot.rings.items():
            known = self._rings.get(service)
            if known is None:
                known = self._rings[service] = _Rings(_stateful(snapshot, ring))
            if known.add(ring, now=now):
                self._changed[service] = now

    def is_unsettled(self, service: str, *, now: float) -> bool:
        """Whether the ring of ``service`` changed not long ago, or may have before we looked."""
        return now - max(self._changed.get(service, -math.inf), self._began) < UNSETTLED

    def reaches_back(self, service: str, *, now: float) -> bool:
        """Whether the rings that are remembered are all that there were since `UNSETTLED` seconds ago."""
        rings = self._rings.get(service)
        return rings is not None and now - rings.since >= UNSETTLED

    def newcomers(self, *, now: float) -> frozenset[str]:
        """The names of those who have come not long ago, or may have before we looked: others may not know them."""
        return frozenset(name for name, came in self._came.items() if now - came < UNSETTLED)

    def has_two_sides(self, *, now: float) -> bool:
        """Whether somebody has come not long ago who takes all its keys and has state already: a partition is over.

        The rings that are remembered are those of one side then.
        """
        return now - self._joined_again < UNSETTLED

    def owners(self, service: str, key: Key) -> tuple[str, ...]:
        """The names of those who may have ``key`` open: who owned it in one of the rings, the latest first.

        A node that has just come knows no ring before its own. The next on the circle was the owner then, or, if
        several came at once, the next of those that had state already.
        """
        rings = self._rings.get(service)
        return () if rings is None else rings.find(key, _OWNERS)

    def holders(self, service: str, key: Key, replicas: int) -> tuple[str, ...]:
        """The names of those who may hold a copy of ``key``.

        One more than there are replicas in each ring, because one of them may have been replaced.
        """
        rings = self._rings.get(service)
        return () if rings is None else rings.find(key, replicas + 2)


class _Rings:
    """The rings of one service, each once, the latest last.

    Keys between two neighbouring points of all these rings have the same owners in each: what was found for one is
    remembered for all of them. While nodes come and go the same rings come back. To look at each of them once, and at
    no more when all nodes are found, takes 0.4 of the time (five nodes that restart in turn).
    """

    def __init__(self, elders: frozenset[str]) -> None:
        self._elders = elders
        """Who had state when we came."""
        self._first: HashRing | None = None
        self._rings: deque[HashRing] = deque()
        self._replaced: dict[str, float] = {}  # when each ring was, for the last time, by its version
        self._everybody = 0
        self.since = math.inf
        """From then on no ring is missing."""
        self._known: set[int] = set()
        self._bounds: list[int] = []
        self._found: dict[tuple[int, int], tuple[str, ...]] = {}

    def add(self, ring: HashRing, *, now: float) -> bool:
        """There is another ring now; False if it is the latest still."""
        if not self._rings:
            self._first, self.since = ring, now
        elif self._rings[-1] == ring:
            return False
        else:
            self._replaced[self._rings[-1].version] = now
        if self._replaced.pop(ring.version, None) is not None:
            self._rings.remove(ring)
        self._rings.append(ring)
        while len(self._rings) > MAX_RINGS or (len(self._rings) > _FEWEST and self._points() > MAX_POINTS):
            self.since = self._replaced.pop(self._rings.popleft().version)
        self._everybody = len({name for one in self._rings for name in one.nodes})
        self._found.clear()
        if len(self._known) > 4 * ring.points:  # points of nodes that are long gone only make the ranges shorter
            self._forget()
        self._mark(ring.bounds)
        return True

    def _points(self) -> int:
        return sum(ring.points for ring in self._rings)

    def _forget(self) -> None:
        self._known, self._bounds = set(), []
        for ring in self._rings:
            self._mark(ring.bounds)

    def _mark(self, points: Iterable[int]) -> None:
        new = set(points) - self._known
        if new:
            self._known |= new
            self._bounds += sorted(new)
            self._bounds.sort()

    def find(self, key: Key, wanted: int) -> tuple[str, ...]:
        """The distinct first ``wanted`` nodes for ``key`` in each ring; owners alone, if it says so."""
        position = self._rings[-1].position(key)
        asked = bisect_right(self._bounds, position), wanted
        found = self._found.get(asked)
        if found is None:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            found = self._found[asked] = self._find(position, wanted)
        return found

    def _find(self, position: int, wanted: int) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for ring in reversed(self._rings):
            count = (1 if names else 2) if wanted == _OWNERS else wanted
            names.update(dict.fromkeys(ring.owners_at(position, count)))
            if ring == self._first:
                names.update(dict.fromkeys(self._before_us(ring, position, 1 if wanted == _OWNERS else wanted - 1)))
            if len(names) == self._everybody:
                break
        return tuple(names)

    def _before_us(self, first: HashRing, position: int, wanted: int) -> tuple[str, ...]:
        """From there on in the first ring, until ``wanted`` of them had state when we came, or all who had it."""
        names: tuple[str, ...] = ()
        wanted = min(wanted, len(self._elders))
        while sum(name in self._elders for name in names) < wanted:
            names = first.owners_at(position, len(names) + wanted)
        return names


def _is_settled(standing: Standing) -> bool:
    return standing.stateful and standing.share == FULL_SHARE


def _stateful(snapshot: RingSnapshot, ring: HashRing) -> frozenset[str]:
    members = snapshot.members
    return frozenset(name for name in ring.nodes if name in members and members[name].metadata.standing.stateful)
