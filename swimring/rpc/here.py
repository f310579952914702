"""Calls of a node to itself: the same connection as to anybody else, over a pipe inside the process.

So a call that happens to be answered here behaves as one that is answered elsewhere: values are copied through the
codec and bounded, errors are rebuilt from their records, streams have credit, casts run on their own, deadlines and
cancellation travel. The connection is made by the first call, and again if a call broke it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import Draining
from swimring.identity import NodeId
from swimring.mux import GoAwayCode, Limits, Session

from .connection import Connection
from .owning import owner_of_tasks
from .statistics import CallStatistics
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.instrument import Instruments
    from swimring.service import HeldCall

    from .outgoing import Outgoing
    from .serving import Serve

_CHUNKS: Final = 16


class Pipe(trio.abc.Stream):
    """One end of a stream inside the process, for one sending and one receiving task.

    At most 16 chunks wait to be read, then the sender waits.
    """

    def __init__(self, outgoing: trio.MemorySendChannel[bytes], incoming: trio.MemoryReceiveChannel[bytes]) -> None:
        """Made by `pipe`."""
        self._outgoing = outgoing
        self._incoming = incoming
        self._left = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand ``data`` to the other end, waiting while it is behind."""
        if data:  # an empty chunk would read as the end
            await self._outgoing.send(bytes(data))
        else:
            await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """There is always a chance."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, none when the other end is closed."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._left:
            await trio.lowlevel.checkpoint()
        else:
            try:
                self._left = await self._incoming.receive()
            except trio.EndOfChannel:
                return b""
        size = len(self._left) if max_bytes is None else max_bytes
        chunk, self._left = self._left[:size], self._left[size:]
        return chunk

    async def aclose(self) -> None:
        """Close this end; the other one reads what was sent, and its end."""
        self._outgoing.close()
        self._incoming.close()
        await trio.lowlevel.checkpoint()


def pipe() -> tuple[Pipe, Pipe]:
    """Two ends of one stream."""
    there, from_here = trio.open_memory_channel[bytes](_CHUNKS)
    back, from_there = trio.open_memory_channel[bytes](_CHUNKS)
    return Pipe(there, from_there), Pipe(back, from_here)


@asynccontextmanager
async def open_here(
    *,
    me: NodeId,
    serve: Serve,
    instruments: Instruments,
    limits: Limits | None = None,
    nursery: trio.Nursery | None = None,
) -> AsyncIterator[Here]:
    """The door of a node to itself; leaving the block ends the calls it still handles.

    If the tasks shall run in a ``nursery`` that is there already, it has to be cancelled after the block.
    """
    async with owner_of_tasks(nursery) as owner:
        here = Here(me=me, serve=serve, instruments=instruments, limits=limits or Limits(), nursery=owner)
        try:
            yield here
        finally:
            here.close()


class Here:
    """This node, as somebody to talk to: has the methods of `Peer`."""

    def __init__(
        self, *, me: NodeId, serve: Serve, instruments: Instruments, limits: Limits, nursery: trio.Nursery
    ) -> None:
        """Made by `open_here`."""
        self._me = me
        self._serve = serve
        self._instruments = instruments
        self._limits = limits
        self._nursery = nursery
        self._workers = Workers(nursery)
        self._calling: Connection | None = None
        # Two sessions refuse to talk to their own name, and the handler has to see this node's as that of its peer.
        self._alias = NodeId(f"{me.name[:100]}.here", me.generation)
        self._draining = False

    def __repr__(self) -> str:
        return f"<Here {self._me}: {self._calling or 'not used yet'}>"

    async def request(self, out: Outgoing) -> object:
        """As `Peer.request`."""
        connection = await self._connection()
        return await connection.calling.request(out)

    async def cast(self, out: Outgoing) -> None:
        """As `Peer.cast`."""
        connection = await self._connection()
        await connection.calling.cast(out)

    @asynccontextmanager
    async def open(self, out: Outgoing) -> AsyncIterator[HeldCall]:
        """As `Peer.open`."""
        connection = await self._connection()
        async with connection.calling.open(out) as call:
            yield call

    def statistics(self) -> CallStatistics:
        """The calls of this node to itself, which it makes and handles; they need no connection to anybody."""
        calling = 0 if self._calling is None else len(self._calling.calling)
        streams = 0 if self._calling is None else self._calling.open_streams
        blocked = 0 if self._calling is None else self._calling.blocked_streams
        return CallStatistics(connections=0, streams=streams, blocked=blocked, calling=calling, handling=calling)

    async def drain(self) -> None:
        """Take no more calls, and wait until those under way are over."""
        self._draining = True
        if self._calling is not None:
            self._calling.go_away(GoAwayCode.DRAINING, f"{self._me} is leaving")
            await self._calling.wait_idle()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Take no more calls, also from somebody who is between two attempts just now."""
        self._draining = True

    async def _connection(self) -> Connection:
        if self._draining:
            await trio.lowlevel.checkpoint()
            raise Draining(f"{self._me} is leaving", owner=self._me.name)
        connection = self._calling
        if connection is None or (connection.ready.is_set() and not connection.usable):
            to_there, to_here = pipe()
            connection = self._calling = self._connect(self._me, to_there, dialled=True)
            self._nursery.start_soon(connection.run)
            self._nursery.start_soon(self._connect(self._alias, to_here, dialled=False).run)
        await connection.ready.wait()
        return connection

    def _connect(self, me: NodeId, stream: Pipe, *, dialled: bool) -> Connection:
        return Connection(
            session=Session(me=me, cluster="here", limits=self._limits, dialled=dialled),
            stream=stream,
            limits=self._limits,
            workers=self._workers,
            serve=self._serve,
            instruments=self._instruments,
            adopt=lambda _connection: None,
            is_suspect=lambda _name: False,
            dialled=dialled,
            called=self._me.name,
        )
