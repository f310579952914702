"""Finds the way back: tries seeds while we are alone, and dead members and seeds now and then afterwards.

Without it a partition that lasted longer than the suspicions would never heal: everybody else talks to the living only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from swimring.swim import Status

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from swimring.identity import Address
    from swimring.swim import Profile

    from .beliefs import Beliefs
    from .push_pull import PushPull

_FIRST_RETRY: Final = 0.1
_AT_ONCE: Final = 16


class Healer:
    """The duty that looks for members we do not talk to, and forgets those that are long gone."""

    def __init__(
        self,
        *,
        beliefs: Beliefs,
        streams: PushPull,
        seeds: Callable[[], Awaitable[Sequence[Address]]],
        profile: Profile,
        rng: random.Random,
        forget: Callable[[], None],
    ) -> None:
        """Ask ``seeds`` for addresses at every round; call ``forget`` at every round, too."""
        self._membership = beliefs.membership
        self._streams = streams
        self._seeds = seeds
        self._profile = profile
        self._rng = rng
        self._forget = forget

    async def run(self) -> None:
        """Heal, for ever: with quick, growing pauses while alone, at the interval of the profile otherwise."""
        pause = _FIRST_RETRY
        while True:
            await trio.sleep(pause * self._rng.uniform(0.75, 1.25))
            if self._membership.leaving:
                return
            self._forget()
            if self._membership.active_count == 1:
                await self._try_everybody()
                pause = min(2 * pause, self._profile.heal_interval)
            else:
                await self._try_some()
                pause = self._profile.heal_interval
            if self._membership.active_count > 1:
                pause = self._profile.heal_interval

    async def _try_everybody(self) -> None:
        dead = [member.address for member in self._membership.others]
        await self.try_all([*await self._strange_seeds(), *dead, *self._membership.former_addresses])

    async def _try_some(self) -> None:
        # Each node tries with a chance that makes the whole cluster try each dead member about once an interval.
        living = self._membership.active_count
        dead = [member.address for member in self._membership.others if member.status is Status.DEAD]
        seeds = await self._strange_seeds()
        chosen = []
        if dead and self._rng.random() < len(dead) / living:
            chosen.append(self._rng.choice(dead))
        if seeds and self._rng.random() < len(seeds) / (living + len(dead)):
            chosen.append(self._rng.choice(seeds))
        await self.try_all(chosen)

    async def _strange_seeds(self) -> list[Address]:
        known = {member.address for member in self._membership.members if member.status.active}
        return [address for address in await self._seeds() if address not in known]

    async def try_all(self, addresses: Iterable[Address]) -> int:
        """Exchange states with each of ``addresses``, 16 at a time; how many members answered."""
        found = set()
        limit = trio.CapacityLimiter(_AT_ONCE)

        async def try_one(address: Address) -> None:
            async with limit:
                found.add(await self._streams.try_exchange(address))

        async with trio.open_nursery() as nursery:
            for address in dict.fromkeys(addresses):
                nursery.start_soon(try_one, address)
        return len(found - {None})
