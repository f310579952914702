"""A node that joins takes its share of the keys in steps, so that their state comes range by range.

A part of a node's points is among all its points: each step moves keys to the node, and none back. No step is taken
while another member drains: keys that move twice at once are brought twice. Nor is one before the others have brought
what the last one has moved, so that whatever there is to bring, a quarter of it is under way at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import trio

from swimring.swim import FULL_SHARE, Phase, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from swimring.swim import Member, Metadata

STEP: Final = FULL_SHARE // 4
"""Sixteenths of its keys that a node takes with each step, the first one included."""
STEP_INTERVAL: Final = 1.0
"""Seconds from one step to the next, at least."""
BROUGHT_PATIENCE: Final = 10.0
"""Seconds that a step waits, at most, for the state of the one before."""
DRAIN_PATIENCE: Final = 30.0
"""Seconds that a step waits, at most, for members that drain."""


class MembershipVoice(Protocol):
    """What settling needs of gossip."""

    @property
    def me(self) -> Member:
        """This node's own record."""

    @property
    def members(self) -> tuple[Member, ...]:
        """All records, this node's own included."""

    async def update_metadata(self, change: Callable[[Metadata], Metadata]) -> None:
        """Tell everybody what ``change`` makes of what this node tells."""


def takes_steps(me: Member, members: Iterable[Member], *, gradual: bool | None) -> bool:
    """Whether ``me`` has to take its share in steps.

    It has if somebody else has settled on a ring of its own services, so that there are keys to move; by default, if
    ``gradual`` is None, only if there is state to move with them. So the first node, and those that start
    together, take all at once.
    """
    if gradual is False:
        return False
    return any(
        _shares_a_ring(me, other) and other.metadata.standing.share == FULL_SHARE and _has_keys(other)
        for other in members
        if gradual or other.metadata.standing.stateful
    )


def somebody_drains(me: Member, members: Iterable[Member]) -> bool:
    """Whether another member on a ring of ``me`` is handing its keys over."""
    return any(_shares_a_ring(me, other) and other.metadata.standing.phase == Phase.DRAINING for other in members)


def _shares_a_ring(me: Member, other: Member) -> bool:
    mine, theirs = me.metadata.services, other.metadata.services
    return other.name != me.name and other.status is Status.ALIVE and not set(mine).isdisjoint(theirs)


def _has_keys(other: Member) -> bool:
    return other.metadata.ring_weight > 0


class Settling:
    """Takes the steps of one node."""

    def __init__(
        self,
        gossip: MembershipVoice,
        *,
        gradual: bool | None,
        wait_change: Callable[[], Awaitable[object]],
        wait_brought: Callable[[], Awaitable[object]],
        publish: Callable[[], object],
    ) -> None:
        """Tell the others through ``gossip``.

        Args:
            gossip: who is here, and how this node tells what it takes.
            gradual: whether to take steps; None for when there is state to move.
            wait_change: waits until the members, or what they tell, may have changed.
            wait_brought: waits until the others have brought what the last step has moved.
            publish: makes the new rings known to this node: it takes the keys when the first of the others gives them.
        """
        self._gossip = gossip
        self._gradual = gradual
        self._wait_change = wait_change
        self._wait_brought = wait_brought
        self._publish = publish

    async def begin(self) -> None:
        """Take the first step, or everything at once if nothing has to move gradually, or if our place was kept."""
        if takes_steps(self._gossip.me, self._gossip.members, gradual=self._gradual):
            waits = somebody_drains(self._gossip.me, self._gossip.members)
            await self._take(0 if waits else STEP)
        elif self.share < FULL_SHARE:
            await self._take(FULL_SHARE)

    async def take_everything(self) -> None:
        """Our place was kept for us: take all keys at once."""
        if self.share < FULL_SHARE:
            await self._take(FULL_SHARE)

    async def run(self) -> None:
        """Take one step after the other until all keys are taken."""
        while self.share < FULL_SHARE:
            await trio.sleep(STEP_INTERVAL)
            if self.share:
                with trio.move_on_after(BROUGHT_PATIENCE):
                    await self._wait_brought()
            with trio.move_on_after(DRAIN_PATIENCE):
                while somebody_drains(self._gossip.me, self._gossip.members):
                    await self._wait_change()
            if takes_steps(self._gossip.me, self._gossip.members, gradual=self._gradual):
                await self._take(min(self.share + STEP, FULL_SHARE))
            else:
                await self._take(FULL_SHARE)

    @property
    def share(self) -> int:
        """The sixteenths of its keys that this node takes."""
        return self._gossip.me.metadata.standing.share

    async def _take(self, share: int) -> None:
        if share == self.share:
            await trio.lowlevel.checkpoint()
            return
        await self._gossip.update_metadata(
            lambda metadata: metadata.with_standing(replace(metadata.standing, share=share))
        )
        self._publish()
