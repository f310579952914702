"""Watches every suspect: one task, which sleeps until the time of the next one is over.

A task for each suspicion would read better, and was what this was: when a cluster of a thousand splits in halves, that
is half a million tasks in one process, and gigabytes.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from swimring.swim import Change, Profile, Suspicion

    from .beliefs import Beliefs


class Suspicions:
    """The duty that declares suspects dead.

    Holds an entry for each suspicion and one for each confirmation of it, until their time: a suspicion that is over
    sooner is passed over then.
    """

    def __init__(self, beliefs: Beliefs, profile: Profile) -> None:
        """Follow ``beliefs``."""
        self._beliefs = beliefs
        self._profile = profile
        self._due: list[tuple[float, int, Suspicion]] = []
        self._numbers = itertools.count()
        self._spared: dict[Suspicion, float] = {}
        self._nap = trio.CancelScope()
        beliefs.followers.append(self._follow)

    def __len__(self) -> int:
        return len(self._due)

    async def run(self) -> None:
        """Watch, for ever."""
        self._due.clear()
        self._spared.clear()
        for suspicion in self._beliefs.membership.suspicions:
            self._watch(suspicion, until=suspicion.deadline)
        while True:
            with trio.CancelScope(deadline=self._due[0][0] if self._due else math.inf) as self._nap:
                await trio.sleep_forever()
            self._judge(now=trio.current_time())

    def _follow(self, change: Change) -> None:
        if change.suspicion is not None:  # it began, or a confirmation draws its end nearer
            self._watch(change.suspicion, until=change.suspicion.deadline)

    def _watch(self, suspicion: Suspicion, *, until: float) -> None:
        heapq.heappush(self._due, (until, next(self._numbers), suspicion))
        if until < self._nap.deadline:
            self._nap.deadline = until

    def _judge(self, *, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            until, _, suspicion = heapq.heappop(self._due)
            if self._beliefs.membership.suspicion(suspicion.suspect.name) is not suspicion:
                self._spared.pop(suspicion, None)
            elif suspicion not in self._spared and now - suspicion.deadline > self._profile.longest_lag:
                # We were not running when the time ended: the refutation may wait in our socket.
                self._spared[suspicion] = now + self._profile.probe_interval
                self._watch(suspicion, until=self._spared[suspicion])
            elif until >= self._spared.get(suspicion, -math.inf):
                self._spared.pop(suspicion, None)
                self._beliefs.declare_dead(suspicion)
