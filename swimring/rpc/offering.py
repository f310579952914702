"""Streams that a handler handed over with its answer: a task for each, which lives until both directions have ended.

They belong to the connection, not to the handler, which has returned: they end with the caller's interest, with their
source, or with the connection, and not with the deadline of the call.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias

import trio

from swimring.errors import CallError, LocalProtocolError
from swimring.mux import RESERVED_STREAM, ResetCode
from swimring.service import checked_sources, close_source, failure_in, feed

from .streams import reset_code

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from swimring.service import Source

    from .connection import Connection
    from .streams import PeerStream

_log = logging.getLogger("swimring.rpc")

_Kept: TypeAlias = "Source | Callable[[PeerStream], Awaitable[object]]"


class Offer:
    """Streams that wait to be opened with an answer."""

    __slots__ = ("_sources",)

    def __init__(self, sources: Mapping[str, object]) -> None:
        """Take over ``sources``, by name: what `feed` reads, or async functions that get the stream.

        Raises:
            LocalProtocolError: one can be read in no way we know, or has no name.
        """
        self._sources: dict[str, _Kept] = {}
        for name, source in sources.items():
            if source is None or name.startswith(RESERVED_STREAM):
                raise LocalProtocolError(f"stream {name!r}: a stream of an answer has a source, and a name of its own")
            self._sources[name] = source if callable(source) else checked_sources({name: source})[name]

    def __len__(self) -> int:
        return len(self._sources)

    def check(self, connection: Connection) -> None:
        """See that the caller can take the streams at all.

        Raises:
            LocalProtocolError: it cannot.
        """
        peer = connection.session.peer
        if not connection.session.peer_takes_offers or peer is None:
            raise LocalProtocolError("the caller does not take streams with an answer")
        if len(self) > peer.limits.streams:
            raise LocalProtocolError(f"{len(self)} streams with an answer; the caller takes {peer.limits.streams}")

    def open(self, connection: Connection, call_id: int) -> None:
        """Open the streams, before the answer; from now on they live on their own.

        Raises:
            LocalProtocolError: the caller does not take them, or has no room for them.
        """
        ids = connection.session.offer(call_id, tuple(self._sources))
        for (name, source), stream_id in zip(self._sources.items(), ids, strict=True):
            connection.spawn(_hand_over, connection, connection.attach(stream_id, name), source)
        self._sources = {}

    async def drop(self) -> None:
        """Close the sources that will not be read: nobody waits for the answer."""
        sources, self._sources = self._sources, {}
        for source in sources.values():
            await close_source(source)


async def _hand_over(connection: Connection, stream: PeerStream, source: _Kept) -> None:
    scope = trio.CancelScope()

    def lose_interest() -> None:
        # Who reads may still have to: a caller that left in good order has sent its end, and refuses what we send.
        if not (callable(source) and stream.at_end):
            scope.cancel()

    stream.when_broken = lose_interest
    try:
        with scope:
            await (source(stream) if callable(source) else feed(stream, source, trio.open_file))
            stream.conclude()
        if scope.cancelled_caught:
            stream.reset(ResetCode.CANCELLED, "nobody is interested any more")
    except BaseException as error:  # noqa: BLE001 - what is not the failure of a source goes on
        failure, others = failure_in(error, trio.Cancelled)
        if isinstance(failure, CallError) and stream.broken:
            stream.conclude()  # the other side has given it up
        elif failure is not None:  # a source is the user's: its error belongs to whoever reads the stream
            _log.debug("the source of stream %r failed", stream.name, exc_info=failure)
            stream.reset(reset_code(failure), f"its source failed: {type(failure).__name__}")
        if others is not None:
            raise others from None
    finally:
        connection.detach(stream.stream_id)
