"""What the page of a node is told while it is open, as server-sent events.

| event | when | what |
|---|---|---|
| ``hello`` | first | who tells, and whether it takes orders |
| ``members`` | whenever it differs | everybody, and how late their timers are |
| ``ring`` | whenever it differs | the ring that the page asked for, to be drawn |
| ``cluster`` | every 2 s | what every node tells of itself, and the traffic of each handler |
| ``timeline`` | as it happens | what has happened since the last one |

Nothing is queued for a page: each event is made when the last one was taken, and tells what is true then. So a page
that does not read costs one event; after 15 s its connection is dropped.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from swimring.errors import SwimringError

from .messages import event
from .telling import drawn, members

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.node import Node
    from swimring.observe import Timeline

    from .asking import Asking
    from .messages import Send

    SendOne: TypeAlias = Callable[[str, object], Awaitable[None]]

LOOKED_AT: Final = 1.0
"""Seconds after which what may have changed without an entry in the time-line is looked at again."""
ASKED: Final = 2.0
"""Seconds between two pictures of the whole cluster."""
FIRST_ENTRIES: Final = 200
"""Entries of the time-line that a page gets when it opens."""

_PAUSE: Final = 0.1
"""Seconds in which what happens together is told together."""


class Telling:
    """What one page is told."""

    def __init__(
        self, node: Node, *, timeline: Timeline, asking: Asking, service: str | None, writable: bool, since: int | None
    ) -> None:
        """Tell of ``node`` and the ring of ``service``; ``since`` is the last entry of the time-line the page has."""
        self._node = node
        self._timeline = timeline
        self._asking = asking
        self._service = service
        self._writable = writable
        self._last = max(0, timeline.last - FIRST_ENTRIES) if since is None or since > timeline.last else since
        self._told: dict[str, object] = {}
        self._sending = trio.Lock()

    async def body(self, send: Send) -> None:
        """Send until the page is closed or the node has left."""

        async def send_one(name: str, value: object) -> None:
            async with self._sending:
                await send(event(name, value))

        node = self._node
        hello = {"name": node.name, "cluster": node.cluster, "life": node.me.generation, "writable": self._writable}
        await send_one("hello", {**hello, "version": node.statistics().version})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_cluster, send_one)
            await self._tell_changes(send_one)

    async def _tell_changes(self, send_one: SendOne) -> None:
        while True:
            for name, version, value in self._parts():
                if self._told.get(name) != version:
                    self._told[name] = version
                    await send_one(name, value)
            if entries := self._timeline.since(self._last):
                self._last = entries[-1].number
                await send_one("timeline", [asdict(entry) for entry in entries])
            with trio.move_on_after(LOOKED_AT):
                await self._timeline.wait_news(self._last)
                await trio.sleep(_PAUSE)

    def _parts(self) -> list[tuple[str, object, object]]:
        """Names, what tells two states apart, and the states."""
        here = members(self._node)
        services = sorted({name for member in here if member["status"] == "alive" for name in member["services"]})
        chosen = self._service if self._service in services else next(iter(services), "")
        ring = self._node.ring(chosen)
        shown: dict[str, Any] = {}
        if self._told.get("ring") != (ring.version, services):
            shown = {"service": chosen, "services": services, **drawn(ring)}
        return [("ring", (ring.version, services), shown), ("members", here, here)]

    async def _tell_cluster(self, send_one: SendOne) -> None:
        while True:
            # From one beginning to the next, however long those that do not answer are waited for.
            due = trio.current_time() + ASKED
            try:
                picture = await self._asking.picture()
            except SwimringError:
                return  # this node has left: what is to be told is on the time-line
            await send_one("cluster", picture)
            await trio.sleep_until(due)
