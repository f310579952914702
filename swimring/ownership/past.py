"""The rings of the last while: who may still hold what moved since."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from swimring.identity import Key
    from swimring.ring import HashRing

    from .rebalancer import RingSnapshot

MAX_RINGS: Final = 16
UNSETTLED: Final = 60.0
"""Seconds after a change during which some scope may still be open where a key was before."""


class PastRings:
    """The last 16 rings of each service, the present one included."""

    def __init__(self, *, now: float) -> None:
        """Nothing is known of what was before ``now``."""
        self._rings: dict[str, deque[HashRing]] = {}
        self._changed: dict[str, float] = {}
        self._began = now

    def note(self, snapshot: RingSnapshot, *, now: float) -> None:
        """Remember what is published."""
        for service, ring in snapshot.rings.items():
            known = self._rings.setdefault(service, deque(maxlen=MAX_RINGS))
            if not known or known[-1] != ring:
                known.append(ring)
                self._changed[service] = now

    def is_unsettled(self, service: str, *, now: float) -> bool:
        """Whether the ring of ``service`` changed not long ago, or may have before we looked."""
        return now - max(self._changed.get(service, -math.inf), self._began) < UNSETTLED

    def owners(self, service: str, key: Key) -> tuple[str, ...]:
        """The names of those who may have ``key`` open: who owned it in one of the rings, the latest first.

        A node that has just come knows no ring before its own; the next on the circle was the owner then.
        """
        owners: dict[str, None] = {}
        for ring in reversed(self._rings.get(service, ())):
            owners.update(dict.fromkeys(ring.owners(key, 1 if owners else 2)))
        return tuple(owners)

    def holders(self, service: str, key: Key, replicas: int) -> tuple[str, ...]:
        """The names of those who may hold a copy of ``key``.

        One more than there are replicas in each ring, because one of them may have been replaced.
        """
        holders: dict[str, None] = {}
        for ring in reversed(self._rings.get(service, ())):
            holders.update(dict.fromkeys(ring.owners(key, replicas + 2)))
        return tuple(holders)
