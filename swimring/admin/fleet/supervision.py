"""What a node and the process that started it say to each other, over a socket that is the node's standard input.

The node sends one line of JSON when it serves. When the other end is closed, because its owner has ended in whatever
way, it leaves as if it had been told to: no node outlives its owner.
"""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from swimring.node import lone_error_raised_bare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Supervision:
    """The owner of this process, if there is one."""

    def __init__(self, link: trio.SocketStream | None) -> None:
        """Made by `open_supervision`."""
        self._link = link

    async def tell_serving(self, *, name: str, address: str, url: str | None) -> None:
        """The node serves at ``address``, and can be watched at ``url``."""
        if self._link is None:
            return
        with suppress(trio.BrokenResourceError):  # it is gone, and the other task leaves for it
            await self._link.send_all(json.dumps({"name": name, "address": address, "url": url}).encode() + b"\n")

    async def wait_left_alone(self) -> None:
        """Wait until the owner is gone; for ever if there is none."""
        if self._link is None:
            await trio.sleep_forever()
            return
        with suppress(trio.BrokenResourceError):
            while await self._link.receive_some():
                pass


@asynccontextmanager
async def open_supervision(*, supervised: bool, leave: Callable[[], None]) -> AsyncIterator[Supervision]:
    """Talk to the owner while the block runs, if it is ``supervised``; ``leave`` is called when the owner is gone."""
    if not supervised:
        yield Supervision(None)
        return
    link = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=0)))
    supervision = Supervision(link)

    async def watch() -> None:
        await supervision.wait_left_alone()
        leave()

    with lone_error_raised_bare():
        async with link, trio.open_nursery() as nursery:
            nursery.start_soon(watch, name="swimring owner")
            yield supervision
            nursery.cancel_scope.cancel()
