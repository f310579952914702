"""How far a hand-off is: keys that have still to go, for people who watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOff:
    """What of a hand-off is done."""

    total: int = 0
    """Keys with state that were here when it began."""
    left: int = 0
    """Those that are still here."""


class Progress:
    """The hand-off of one node, told to whoever watches; who is slow hears of the latest only."""

    def __init__(self) -> None:
        """Nothing to hand off is known yet."""
        self._now = HandOff()
        self._over = False
        self._changed = trio.Event()

    @property
    def now(self) -> HandOff:
        """How far it is."""
        return self._now

    def tell(self, *, total: int, left: int) -> None:
        """That many keys are left of that many."""
        self._turn(HandOff(total=total, left=left))

    def finish(self) -> None:
        """It is over: ends the iterations of those who watch."""
        self._over = True
        self._turn(self._now)

    async def changes(self) -> AsyncIterator[HandOff]:
        """How far it is, now and whenever that changes, until it is over."""
        told = None
        while True:
            await trio.lowlevel.checkpoint()
            changed = self._changed
            if self._now != told:
                told = self._now
                yield told
            elif self._over:
                return
            else:
                await changed.wait()

    def _turn(self, now: HandOff) -> None:
        self._now = now
        changed, self._changed = self._changed, trio.Event()
        changed.set()
