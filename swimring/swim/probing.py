"""Whom to probe next, how long to wait, and what the outcome of a round means.

Round robin over a shuffled list, reshuffled at its end (SWIM section 4.3): a member is probed at least once in 2n - 1
rounds, and no two nodes probe in the same order.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from .config import Profile

_REMEMBERED_ROUND_TRIPS: Final = 100
_TRUSTED_ROUND_TRIPS: Final = 10


class ProbeOrder:
    """The names to probe, in the order of this round."""

    def __init__(self, rng: random.Random) -> None:
        """Start with nobody."""
        self._rng = rng
        self._names: list[str] = []
        self._known: set[str] = set()
        self._next = 0

    def add(self, name: str) -> None:
        """Put a new member in at a random place, so that a new member is not probed by everybody at once."""
        if name not in self._known:
            self._known.add(name)
            place = self._rng.randint(0, len(self._names))
            self._names.insert(place, name)
            self._next += place < self._next

    def keep(self, known: Callable[[str], object]) -> None:
        """Take the names out that are not ``known`` any more."""
        done, left = self._names[: self._next], self._names[self._next :]
        done = [name for name in done if known(name)]
        self._names = done + [name for name in left if known(name)]
        self._known = set(self._names)
        self._next = len(done)

    def take(self, wanted: Callable[[str], bool]) -> str | None:
        """The next name that is ``wanted``; None when no name is."""
        for _attempt in range(2 * len(self._names)):
            if self._next >= len(self._names):
                self._rng.shuffle(self._names)
                self._next = 0
            name = self._names[self._next]
            self._next += 1
            if wanted(name):
                return name
        return None


class RoundTrips:
    """How long acks took of late, and how long to wait for the next one."""

    def __init__(self, profile: Profile) -> None:
        """Know nothing yet: wait the whole probe timeout."""
        self._profile = profile
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED_ROUND_TRIPS)

    def add(self, seconds: float) -> None:
        """Remember the round trip of a direct ack."""
        self._seconds.append(seconds)

    @property
    def ping_timeout(self) -> float:
        """Three times the 99th percentile, within the bounds of the profile; of fewer than 10, the upper bound."""
        longest = self._profile.probe_timeout
        if len(self._seconds) < _TRUSTED_ROUND_TRIPS:
            return longest
        ordered = sorted(self._seconds)
        percentile = ordered[math.ceil(0.99 * len(ordered)) - 1]
        return min(longest, max(self._profile.shortest_probe_timeout, 3 * percentile))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a probe round means: whether to accuse the target, and what it says about our own health."""

    accuse: bool
    health: int


def judge(*, answered: bool, asked: Iterable[str], nacked: Iterable[str], lag: float, longest_lag: float) -> Verdict:
    """Judge a probe round.

    Args:
        answered: an ack came, by whatever way.
        asked: names of the relays that were asked.
        nacked: names of those that reported that they could not reach the target either.
        lag: seconds by which our own timers were late in this round.
        longest_lag: when it was more than this, we are the slow one and there is no verdict about the target.
    """
    if answered:
        return Verdict(accuse=False, health=-1)
    if lag > longest_lag:
        return Verdict(accuse=False, health=1)
    relays = set(asked)
    return Verdict(accuse=True, health=0 if relays and relays <= set(nacked) else 1)
