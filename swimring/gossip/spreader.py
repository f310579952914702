"""Spreads rumours and broadcasts: while there are any, a few random members hear of them at every interval.

Whom we declared dead ourselves hears that first, one of them a round: if it lives, it need not be found by chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from swimring.swim import Gossip, Status

if TYPE_CHECKING:
    import random

    from swimring.swim import Change, Member, Profile

    from .beliefs import Beliefs
    from .broadcasting import Broadcasting
    from .mail import Mail


class Spreader:
    """The duty that empties the queue of rumours; probes and their answers carry some, too."""

    def __init__(
        self, beliefs: Beliefs, broadcasting: Broadcasting, mail: Mail, profile: Profile, rng: random.Random
    ) -> None:
        """Follow ``beliefs`` and ``broadcasting``."""
        self._membership = beliefs.membership
        self._verdicts = beliefs.verdicts
        self._broadcasting = broadcasting
        self._mail = mail
        self._profile = profile
        self._rng = rng
        self._something = trio.Event()
        beliefs.followers.append(self._follow)
        broadcasting.followers.append(self.wake)

    async def run(self) -> None:
        """Spread, for ever; idle while there is nothing to spread."""
        self.wake()
        while True:
            await self._something.wait()
            await self._tell_verdict()
            await self.spread_once()
            await trio.sleep(self._profile.gossip_interval)
            self._broadcasting.sent()
            if not self._verdicts and (not self._has_something or self._membership.active_count == 1):
                self._something = trio.Event()

    def wake(self) -> None:
        """There may be something to spread."""
        self._something.set()

    async def spread_once(self, *, fanout: int | None = None) -> None:
        """Send to ``fanout`` random members, by default as many as the profile says."""
        for member in self._membership.sample(self._rng, fanout or self._profile.gossip_fanout, self._hears):
            if self._has_something:
                await self._mail.gossip(Gossip(), to=member)

    async def _tell_verdict(self) -> None:
        while self._verdicts:
            victim = self._membership.get(self._verdicts.popleft())
            if victim is not None and victim.status is Status.DEAD:
                await self._mail.send(Gossip(), to=victim)
                return

    @property
    def _has_something(self) -> bool:
        return bool(self._membership.rumours or self._broadcasting.broadcasts.queue)

    def _hears(self, member: Member) -> bool:
        if member.status is not Status.DEAD:
            return member.status.active
        # A dead member hears for a while, so that one that lives learns of its death and refutes it.
        return trio.current_time() - self._membership.gone_since(member.name) < self._profile.gossip_to_dead

    def _follow(self, _change: Change) -> None:
        self.wake()
