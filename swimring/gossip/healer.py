"""Finds the way back: tries everybody while we are alone, and dead members and seeds now and then afterwards.

Without it a partition that lasted longer than the suspicions would never heal: everybody else talks to the living only.
Members that left are not looked for, and a farewell that was heard is never taken back: the way back of a member that
left is a new generation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from swimring.swim import Status, gathers

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from swimring.identity import Address
    from swimring.swim import Profile

    from .beliefs import Beliefs
    from .push_pull import PushPull

_FIRST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 5.0
_AT_ONCE: Final = 16
_FOR_STRAGGLERS: Final = 1.0


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
        self._trying: set[Address] = set()

    async def run(self) -> None:
        """Heal, for ever: with quick, growing pauses while members are wanted, else at the interval of the profile."""
        pause = _FIRST_RETRY
        async with trio.open_nursery() as nursery:
            while not self._membership.leaving:
                await trio.sleep(pause * self._rng.uniform(0.75, 1.25))
                self._forget()
                if self._wanting:
                    # Not waited for: what it tries may be long gone, and the seeds have better addresses meanwhile.
                    nursery.start_soon(self._try_everybody)
                    pause = min(2 * pause, self._profile.heal_interval, _LONGEST_RETRY)
                elif pause < self._profile.heal_interval:
                    pause = self._profile.heal_interval
                else:
                    await self._try_some()
            nursery.cancel_scope.cancel()

    @property
    def _wanting(self) -> bool:
        """Whether we are alone, or wait for more members."""
        return self._membership.active_count == 1 or gathers(self._membership.me)

    async def _try_everybody(self) -> None:
        seeds = await self._strange_seeds()
        await self.try_all(address for address in [*seeds, *self._dead()] if address not in self._trying)

    async def _try_some(self) -> None:
        # Each node tries so many that the whole cluster tries each of them about once an interval.
        living = self._membership.active_count
        dead = self._dead()
        seeds = await self._strange_seeds()
        chosen = self._some_of(dead, len(dead) / living) + self._some_of(seeds, len(seeds) / (living + len(dead)))
        await self.try_all(chosen)

    def _some_of(self, addresses: list[Address], share: float) -> list[Address]:
        """``share`` of them on average: after a partition most of many may be dead indeed, and one is not enough."""
        count = int(share) + (self._rng.random() < share % 1)
        return self._rng.sample(addresses, min(count, len(addresses), _AT_ONCE))

    def _dead(self) -> list[Address]:
        """Where the dead were, those forgotten by now included: a partition may be of any age."""
        dead = [member.address for member in self._membership.members if member.status is Status.DEAD]
        return self._without_known([*dead, *self._membership.former_addresses])

    async def _strange_seeds(self) -> list[Address]:
        return self._without_known(await self._seeds())

    def _without_known(self, addresses: Iterable[Address]) -> list[Address]:
        """``addresses`` where nobody is that takes part, each once."""
        wanted = dict.fromkeys(addresses)
        hosts = {address.host for address in wanted}
        found = (member for member in self._membership.members if member.address.host in hosts)
        known = {member.address for member in found if member.status.active}
        return [address for address in wanted if address not in known]

    async def try_all(self, addresses: Iterable[Address]) -> int:
        """Exchange states with each of ``addresses``, 16 at a time; how many members answered.

        Once one has answered, which tells us about the others, those that have not get a second or so, and no more.
        """
        found = set()
        limit = trio.CapacityLimiter(_AT_ONCE)
        stragglers_have = max(_FOR_STRAGGLERS, self._profile.stream_patience / 10)

        async def try_one(address: Address) -> None:
            async with limit:
                self._trying.add(address)
                try:
                    partner = await self._streams.try_exchange(address)
                finally:
                    self._trying.discard(address)
            if partner is not None:
                found.add(partner)
                nursery.cancel_scope.deadline = min(
                    nursery.cancel_scope.deadline, trio.current_time() + stragglers_have
                )

        async with trio.open_nursery() as nursery:
            for address in dict.fromkeys(addresses):
                nursery.start_soon(try_one, address)
        return len(found)
