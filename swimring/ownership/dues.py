"""Which keys have copies to be brought somewhere: in which order, and when."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .holdings import Place

LATER: Final = 1.0
"""Seconds that a key which has just opened waits: some are checkpointed before, and have nothing to spread then."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0


class Dues:
    """At most as many keys as there are copies here. Who waits for one of its times asks `next_time`.

    Keys that others did not take are due again together, after a pause that doubles until all are taken: whoever
    refuses one for the sake of a claim does so until that claim is over.
    """

    def __init__(self) -> None:
        """Nothing is due."""
        self._first: dict[Place, None] = {}
        self._ready: dict[Place, None] = {}
        self._later: OrderedDict[Place, float] = OrderedDict()
        self._again: dict[Place, None] = {}
        self._again_at = math.inf
        self._pause = FIRST_PAUSE

    def __len__(self) -> int:
        return len(self._first) + len(self._ready) + len(self._later) + len(self._again)

    @property
    def ready(self) -> int:
        """How many are due now."""
        return len(self._first) + len(self._ready)

    @property
    def unfinished(self) -> int:
        """How many have been due already, and are still."""
        return self.ready + len(self._again)

    @property
    def next_time(self) -> float:
        """When more of them will be due."""
        return min(next(iter(self._later.values()), math.inf), self._again_at)

    def mark(self, place: Place) -> None:
        """It is due now."""
        if place not in self._first:
            self._ready[place] = None

    def mark_later(self, place: Place, *, now: float) -> None:
        """It is due in a second."""
        self._later.pop(place, None)  # so that they stay in the order in which they are due
        self._later[place] = now + LATER

    def mark_again(self, place: Place, *, now: float) -> None:
        """It was not taken."""
        if not self._again:
            self._again_at = now + self._pause
        self._again[place] = None

    def wake(self, *, now: float, hurry: bool = False) -> None:
        """See what is due by now; with ``hurry`` all but what was refused."""
        while self._later and (hurry or next(iter(self._later.values())) <= now):
            self.mark(self._later.popitem(last=False)[0])
        if self._again_at <= now:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._retry()
        elif not len(self):
            self._pause = FIRST_PAUSE

    def retry(self) -> None:
        """What was refused may be taken now: the rings have changed."""
        self._pause = FIRST_PAUSE
        self._retry()

    def _retry(self) -> None:
        again, self._again, self._again_at = self._again, {}, math.inf
        for place in again:
            self.mark(place)

    def put_first(self, calls: Mapping[Place, int]) -> None:
        """Have those that were called go first, the hottest before the others.

        They are few among those that are held: the others keep the order they have.
        """
        hottest = sorted((place for place in calls if place in self._ready), key=lambda place: -calls[place])
        for place in hottest:
            del self._ready[place]
        self._first = dict.fromkeys((*hottest, *self._first))

    def take(self, most: int) -> list[Place]:
        """The next of them, which are not due any more; what is marked from now on is due again."""
        taken = list(itertools.islice(itertools.chain(self._first, self._ready), most))
        self._drop(taken)
        return taken

    def _drop(self, places: Iterable[Place]) -> None:
        for place in places:
            self._first.pop(place, None)
            self._ready.pop(place, None)
            self._again.pop(place, None)
        if not self._again:
            self._again_at = math.inf
