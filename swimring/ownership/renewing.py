"""Keys whose copies are refused because of a claim that came to nothing: claimed anew, so that they are taken again.

Who is asked by a claim promises to take no older copy. If the claim is given up after that (the ring changed, the
claimer crashed), the promise stays, and nobody may ever call the key again: its copy could not be brought anywhere.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import SwimringError

if TYPE_CHECKING:
    from .holdings import Place
    from .scopes import Scopes

_log = logging.getLogger("swimring.ownership")

MAX_DUE: Final = 65_536
AT_ONCE: Final = 16


class Renewing:
    """The keys that this node has to claim anew, and the task that does.

    At most 65,536 wait; more are noted when their copies are refused the next time.
    """

    def __init__(self, scopes: Scopes) -> None:
        """Claim through ``scopes``."""
        self._scopes = scopes
        self._due: dict[Place, str] = {}
        self._stirred = trio.Event()

    def refused(self, place: Place, holder: str) -> None:
        """A copy that ``holder`` has is older than what was promised to somebody. For its owner only.

        That may be the owner itself, which has opened the key without that copy.
        """
        self._scopes.void(place, holder)
        if len(self._due) < MAX_DUE and self._needs(place):
            self._due[place] = holder
            self._stirred.set()

    def _needs(self, place: Place) -> bool:
        """Whether nobody here is about to do it."""
        return self._scopes.get(place) is None and self._scopes.is_mine(place)

    async def run(self) -> None:
        """Claim what is due, until cancelled."""
        while True:
            await self._stirred.wait()
            self._stirred = trio.Event()
            while self._due:
                batch = [self._due.popitem() for _ in range(min(AT_ONCE, len(self._due)))]
                async with trio.open_nursery() as nursery:
                    for place, holder in batch:
                        nursery.start_soon(self._renew, place, holder)

    async def _renew(self, place: Place, holder: str) -> None:
        await trio.lowlevel.checkpoint()
        if not self._needs(place):
            return
        try:
            await self._scopes.renew(place, holder)
        except SwimringError as error:
            told = "the copies of %s:%r cannot be brought anywhere: %s"
            _log.warning(told, *place, error, extra={"event": "key.stuck"})
