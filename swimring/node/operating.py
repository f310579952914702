"""The part of a node that operators act on: take no more keys, take them again, leave, declare another one dead."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import trio

from swimring.errors import CallError, ConfigError, NodeClosed, Unreachable
from swimring.ownership import Settling
from swimring.swim import FULL_SHARE, Phase

from .keeping import Keeping

_ASKED: Final = 3


class Operating(Keeping):
    """What an operator may ask of a `Node`."""

    def __init__(self, **parts: Any) -> None:
        """Made by `Node`."""
        super().__init__(**parts)
        self._drain_asked = trio.Event()

    async def cordon(self) -> None:
        """Take no keys from now on, and stay: the keys of this node pass to others, calls for them are told where.

        Undone by `uncordon`, and by a restart. Calls that need no key come here only if nobody else offers the service.

        Raises:
            ConfigError: this node drains.
            NodeClosed: this node has left.
        """
        await self._turn(Phase.CORDONED)

    async def uncordon(self) -> None:
        """Take keys again.

        Raises:
            ConfigError: this node drains.
            NodeClosed: this node has left.
        """
        await self._turn(Phase.SERVING)

    async def ask_to_drain(self) -> None:
        """Take no more keys, for good, and ask the program to leave: `swimring run` does, as at a SIGTERM.

        A program that embeds a node waits for it with `wait_drain_asked`, and leaves the block of `open_node`. The
        place of this node is not kept, whatever its ``restart_hold``.

        Raises:
            NodeClosed: this node has left.
        """
        await self._tell_standing(phase=Phase.DRAINING, hold=0)
        self._drain_asked.set()

    async def wait_drain_asked(self) -> None:
        """Wait until somebody asks this node to leave for good."""
        await self._drain_asked.wait()

    async def evict(self, name: str) -> None:
        """Declare the present life of the member ``name`` dead, although it may answer probes: it cannot refute it.

        For a member that is there and cannot serve. Everybody treats it as dead within moments; it stops, with
        `Evicted`, as soon as it hears of it, and may come back by a restart.

        Raises:
            ConfigError: this node is meant itself.
            Unreachable: no member of that name takes part.
            NodeClosed: this node has left.
        """
        await trio.lowlevel.checkpoint()
        if name == self.me.name:
            raise ConfigError("node", name, "a node cannot evict itself: ask another one, or drain it")
        if not self._gossiper.evict(name):
            raise Unreachable(f"no member named {name!r} takes part", owner=name)

    # -------------------------------------------------------------------------------------------------- inside

    def settling(self, *, gradual: bool | None) -> Settling:
        """What takes this node's keys in steps; `open_node` asks for it."""
        return Settling(
            self._gossiper,
            gradual=gradual,
            wait_change=self._wait_rings_changed,
            wait_brought=self._wait_brought,
            publish=self._show_members,
        )

    async def settle(self, settling: Settling) -> None:
        """Take all keys, one step after the other; at once if our place was kept for us."""
        if settling.share < FULL_SHARE and self.standing.hold and await self._was_kept():
            await settling.take_everything()
        with suppress(NodeClosed):  # who leaves meanwhile takes no further step
            await settling.run()

    async def tell_state(self) -> None:
        """Wait until there is state here, and tell the others."""
        await self.ownership.stateful.wait()
        with suppress(NodeClosed):
            await self.hold_state()

    async def hold_state(self) -> None:
        """Tell the others that this node holds state, so that those that join take their keys in steps.

        Raises:
            NodeClosed: this node has left.
        """
        await self._tell_standing(stateful=True)

    async def tell_bringing(self) -> None:
        """Tell the others when copies have been due elsewhere for long, and when they are brought, until cancelled."""
        with suppress(NodeClosed):
            while True:
                behind = not self.standing.bringing
                await self.ownership.wait_behind(behind=behind)
                await self._tell_standing(bringing=behind)

    def places_kept(self, name: str) -> float:
        """Seconds for which the place of that member is still kept, for the built-in service."""
        return self._rebalancer.kept_for(name)

    async def _was_kept(self) -> bool:
        """Whether one of the first members that can be asked has kept our place."""
        others = [member for member in self._rebalancer.snapshot.members.values() if member.name != self.me.name]
        for member in others[:_ASKED]:
            try:
                left = await self._ask_member(member.name, {"ns": "swimring", "cmd": "kept", "name": self.me.name})
            except CallError:
                continue
            return isinstance(left, int | float) and left > 0
        return False

    async def _wait_brought(self) -> None:
        """Wait until those on our rings, who hold state, have nothing to bring anywhere."""
        mine = set(self.me.metadata.services)
        async with trio.open_nursery() as nursery:
            for member in self._rebalancer.snapshot.members.values():
                there = member.name != self.me.name and member.metadata.standing.stateful
                if there and not mine.isdisjoint(member.metadata.services):
                    nursery.start_soon(self._ask_brought, member.name)

    async def _ask_brought(self, name: str) -> None:
        with suppress(CallError, NodeClosed):
            await self._ask_member(name, {"ns": "swimring", "cmd": "brought"})

    async def _wait_rings_changed(self) -> None:
        await self._rebalancer.wait_changed(self._rebalancer.sequence)

    async def _ask_member(self, name: str, message: dict[str, Any]) -> Any:
        raise NotImplementedError

    async def _turn(self, phase: Phase) -> None:
        if self.standing.phase == Phase.DRAINING:
            raise ConfigError("node", self.me.name, "it drains, and will leave: start it again")
        await self._tell_standing(phase=phase)
