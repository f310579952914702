"""Watches one other member over an idle connection, so that the kernel tells at once when its process has died.

Each node watches the next one in the order of names, so that everybody is watched by one. Who has no connection to
anybody dies unnoticed until the next probe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from swimring import swim
from swimring.errors import Unreachable

if TYPE_CHECKING:
    import random

    from swimring.ownership import Rebalancer
    from swimring.rpc import Pool
    from swimring.swim import Member

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0


class Watch:
    """Holds a connection to the member whose name follows ours; the pool tells of its loss as of any other."""

    def __init__(self, me: str, *, view: Rebalancer, pool: Pool, rng: random.Random) -> None:
        """Follow ``view``, whose cut filter keeps bursts of changes from us, and connect through ``pool``."""
        self._me = me
        self._view = view
        self._pool = pool
        self._rng = rng

    async def run(self) -> None:
        """Watch whoever it is at each time, until cancelled; nobody while we are alone or have left."""
        while True:
            watched = self._next_after(self._me)
            async with trio.open_nursery() as nursery:
                if watched is not None:
                    nursery.start_soon(self._hold, watched)
                await self._wait_moved(watched)
                nursery.cancel_scope.cancel()
            if watched is not None and self._is_unneeded(watched.name):
                self._pool.retire(watched.name)

    async def _hold(self, member: Member) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                connection = await self._pool.connect(member.name, member.address, member.generation)
            except Unreachable as error:
                await self._sleep(max(pause, error.retry_after or 0.0))
                pause = min(2 * pause, _LONGEST_PAUSE)  # two that reach each other by datagrams only cost little
            else:
                await connection.ended.wait()
                pause = _FIRST_PAUSE
                await self._sleep(pause)  # if it is dead, we shall know by then

    async def _sleep(self, seconds: float) -> None:
        await trio.sleep(seconds * self._rng.uniform(1.0, 1.5))

    async def _wait_moved(self, watched: Member | None) -> None:
        sequence = self._view.sequence
        while _life(self._next_after(self._me)) == _life(watched):
            sequence = (await self._view.wait_changed(sequence)).sequence

    def _is_unneeded(self, name: str) -> bool:
        """Whether that member is here, and neither of us watches the other any more."""
        members = self._view.snapshot.members
        if self._me not in members or name not in members:
            return False  # such connections end by themselves
        return not (self._watches(self._me, name) or self._watches(name, self._me))

    def _watches(self, one: str, other: str) -> bool:
        watched = self._next_after(one)
        return watched is not None and watched.name == other

    def _next_after(self, name: str) -> Member | None:
        """Whom the member of that name watches; those that wait for a cluster to form take no connections yet."""
        members = self._view.snapshot.members
        others = [each for each in members.values() if each.name != name and not swim.gathers(each)]
        if name not in members or not others:
            return None
        return next((each for each in others if each.name > name), others[0])


def _life(member: Member | None) -> object:
    return None if member is None else (member.id, member.address)
