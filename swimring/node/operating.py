"""The part of a node that operators act on: take no more keys, take them again, leave, declare another one dead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from swimring.errors import ConfigError, Unreachable
from swimring.ownership import Progress
from swimring.swim import Phase

from .placing import Placing

if TYPE_CHECKING:
    from swimring.swim import Standing


class Operating(Placing):
    """What an operator may ask of a `Node`."""

    def __init__(self, **parts: Any) -> None:
        """Made by `Node`."""
        super().__init__(**parts)
        self._drain_asked = trio.Event()
        self._hand_off = Progress()

    @property
    def standing(self) -> Standing:
        """What this node tells the others about the keys it takes."""
        return self.me.metadata.standing

    @property
    def hand_off(self) -> Progress:
        """How far this node is with handing its keys to others, while it drains."""
        return self._hand_off

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

    async def _turn(self, phase: Phase) -> None:
        if self.standing.phase == Phase.DRAINING:
            raise ConfigError("node", self.me.name, "it drains, and will leave: start it again")
        await self._tell_standing(phase=phase)

    async def _tell_standing(self, **changes: Any) -> None:
        """Change what this node tells about the keys it takes; the rest of it stays, whoever changes that meanwhile."""
        if replace(self.standing, **changes) == self.standing:
            await trio.lowlevel.checkpoint()
            return
        await self._gossiper.update_metadata(
            lambda metadata: metadata.with_standing(replace(metadata.standing, **changes))
        )
