"""One connection over a stream that the caller brings, whatever it is made of: no pool, no dialling, no second attempt.

Nodes use a `Pool`, which does all that. This is for two programs that have a stream already: a pair of pipes, a tunnel,
a test.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from swimring.errors import Unreachable
from swimring.instrument import Instruments
from swimring.mux import GoAwayCode, Limits, Session

from .connection import Connection
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import NodeId
    from swimring.instrument import Instrument
    from swimring.mux import Secret
    from swimring.service import HeldCall

    from .outgoing import Outgoing
    from .serving import Serve


class OnlyPeer:
    """Who is at the other end of one stream. `open_connection` makes it; it works until the block ends."""

    def __init__(self, connection: Connection) -> None:
        """Made by `open_connection`."""
        self._connection = connection

    def __repr__(self) -> str:
        return f"<OnlyPeer {self._connection}>"

    @property
    def name(self) -> str:
        """Its name, as its hello gave it."""
        return self._connection.peer_name

    async def request(self, out: Outgoing) -> object:
        """As `Peer.request`, once: `Unreachable` or `Draining` if the connection takes no more calls."""
        return await self._connection.calling.request(out)

    async def cast(self, out: Outgoing) -> None:
        """As `Peer.cast`."""
        await self._connection.calling.cast(out)

    def open(self, out: Outgoing) -> AbstractAsyncContextManager[HeldCall]:
        """As `Peer.open`."""
        return self._connection.calling.open(out)

    async def drain(self) -> None:
        """Take no more calls from the other side and wait until those under way, of both sides, are over."""
        self._connection.go_away(GoAwayCode.DRAINING, "the other end is leaving")
        await self._connection.wait_idle()


@asynccontextmanager
async def open_connection(
    stream: trio.abc.Stream,
    *,
    me: NodeId,
    cluster: str,
    dialled: bool,
    serve: Serve,
    instruments: Iterable[Instrument] = (),
    limits: Limits | None = None,
    secret: Secret | None = None,
) -> AsyncIterator[OnlyPeer]:
    """Talk to whoever is at the other end of ``stream``, which is closed at the end of the block.

    One of the two has ``dialled``, and speaks first. Calls of the other side are answered by ``serve``.

    Raises:
        Unreachable: no hello came of it; the text says why.
    """
    limits = limits or Limits()
    async with trio.open_nursery() as nursery:
        connection = Connection(
            session=Session(me=me, cluster=cluster, limits=limits, dialled=dialled, secret=secret),
            stream=stream,
            limits=limits,
            workers=Workers(nursery),
            serve=serve,
            instruments=Instruments(list(instruments)),
            adopt=lambda _connection: None,
            is_suspect=lambda _name: False,
            dialled=dialled,
        )
        nursery.start_soon(connection.run)
        await connection.ready.wait()
        failure = None if connection.open else Unreachable(connection.reason)
        if failure is None:
            yield OnlyPeer(connection)
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
