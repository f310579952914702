"""One connection to one peer: a task that reads, a task that writes, a task that notices silence.

Only the writer touches the sending side of the stream, so a cancelled call can never leave half a frame behind. What
callers and workers queue while it is busy leaves in one piece.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.errors import CallError, Draining, RemoteProtocolError, Unreachable
from swimring.instrument import Instrument
from swimring.mux import (
    CallArrived,
    CallEnded,
    CancelArrived,
    FailureArrived,
    GoAwayArrived,
    GoAwayCode,
    HelloRefused,
    PeerReady,
    Phase,
    PongArrived,
    RefusalArrived,
    ReplyArrived,
    StreamsOffered,
)
from swimring.service import AttachedStreams, Writers

from .calling import Calling, Superseded
from .heap import keep_freed_memory
from .reading import reader
from .serving import Serving
from .streams import PeerStream
from .writing import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.identity import Key, NodeId
    from swimring.instrument import Instruments
    from swimring.mux import Event, Limits, Session

    from .serving import Serve
    from .workers import Workers

_log = logging.getLogger("swimring.rpc")

_READ: Final = 64 * 1024
_LARGE_READ: Final = 256 * 1024
_LAST_WORDS: Final = 0.5
_CLOSED: Final = Phase.CLOSED


class Connection:
    """A session, the stream it runs over, and the calls of both sides."""

    def __init__(
        self,
        *,
        session: Session,
        stream: trio.abc.Stream,
        limits: Limits,
        workers: Workers,
        serve: Serve,
        instruments: Instruments,
        adopt: Callable[[Connection], None],
        on_end: Callable[[Connection], None] = lambda _connection: None,
        is_suspect: Callable[[str], bool],
        dialled: bool,
        called: str = "",
    ) -> None:
        """Ready to `run`.

        ``adopt`` is told when the peer's hello is accepted, and may refuse it (HelloRefused); ``on_end`` is told that
        the connection is over before its calls are. ``contested`` is the pool's note that the peer dialled another one.
        ``called`` names the peer instead of its hello.
        """
        self.session = session
        self.limits = limits
        self.peer_message_limit = limits.message  # what it takes at most, until it says otherwise
        self.workers = workers
        self.instruments = instruments
        self.dialled = dialled
        self.peer: NodeId | None = None
        self.open = self.refused = self.usable = False
        # Usable: calls can be made. Not on a duplicate, which ends when the last one on it is over.
        self.reason = ""
        self.adopted = self.contested = False
        # A clock at hand, because `trio.current_time` looks for it each time, and every call asks.
        self.heard, self.now = 0.0, trio.lowlevel.current_clock().current_time
        self.ready, self.ended = trio.Event(), trio.Event()
        self._writer = Writer(session, stream)
        self.poke, self.flush = self._writer.poke, self._writer.flush
        self.calling, self.serving = Calling(self), Serving(self, serve)
        self._stream = stream
        self._adopt = adopt
        self._on_end = on_end
        self._is_suspect = is_suspect
        self._called = called
        self.peer_name = called or "a stranger"
        """The name of the node on the other side, as its hello gave it."""
        self._streams: AttachedStreams[PeerStream] = AttachedStreams(session)
        self._writers = Writers(session, blocked=lambda took: instruments.tell(Instrument.stream_blocked, took))
        self._quiet = trio.Event()
        self._finishing = False
        self._superseded = False
        self._nursery: trio.Nursery | None = None
        self._handlers = self._table()

    def __repr__(self) -> str:
        state = "open" if self.open else self.reason or "not ready"
        direction = "to" if self.dialled else "from"
        return f"<Connection {direction} {self.peer_name}: {state}, {len(self.calling)} out, {len(self.serving)} in>"

    @property
    def cancel_grace(self) -> float:
        """How long a cancelled call waits for its confirmation, in seconds."""
        return 0.0 if self._is_suspect(self.peer_name) else self.limits.cancel_grace

    def unusable(self, key: Key | None) -> CallError:
        """The error of a call that was not sent because the connection is not `usable` (any more)."""
        if self._superseded:
            return Superseded(f"another connection to {self.peer_name} took over", key=key, owner=self.peer_name)
        if self.session.told_to_go_away and self.open:
            return Draining("the peer takes no more calls", key=key, owner=self.peer_name)
        return Unreachable(self.reason or "the connection is not open", key=key, owner=self.peer_name)

    # ----------------------------------------------------------------------------------------------- running it

    async def run(self, received: bytes = b"") -> None:
        """Read, write and watch until the connection ends; ``received`` was read before. Raises only Cancelled.

        A fault of ours is told as that of the duty ``connection``, and ends this connection only.
        """
        self.heard = trio.current_time()
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._write)
                self._nursery.start_soon(self._watch)
                await self._read(received)
                self._finish()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as errors:
            self.reason = self.reason or str(errors.exceptions[0]) or "the connection broke"
        except* Exception as errors:  # noqa: BLE001 - a fault of one connection is never the end of the others
            _log.exception(
                "the connection with %s crashed",
                self.peer_name,
                extra={"event": "connection.crashed", "peer": self.peer_name},
            )
            self.reason = self.reason or f"a fault of this node: {errors.exceptions[0]!r}"
            self.instruments.tell(Instrument.duty_failed, "connection", errors)
        finally:
            self._end()
            await trio.aclose_forcefully(self._stream)

    def close(self, reason: str) -> None:
        """End the connection now; calls under way are lost."""
        self.reason = self.reason or reason
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def refuse_bytes(self, error: RemoteProtocolError) -> None:
        """The peer sent nonsense: count it, and end this connection."""
        self._tell_refused(error)
        self.reason = self.reason or str(error)
        self._finish()

    def _tell_refused(self, error: RemoteProtocolError) -> None:
        self.instruments.refuse_bytes("stream", str(error), source=self.peer_name, now=trio.current_time())

    def go_away(self, code: GoAwayCode, reason: str) -> None:
        """Take no more calls; a duplicate ends when it is idle and both sides have said so."""
        if not self.session.going_away:  # the peer has heard one already, and would not answer another
            self.session.go_away(code, reason)
            self._superseded = code == GoAwayCode.DUPLICATE
            self.usable = self.usable and not self._superseded
        self._writer.watched = True
        self.poke()

    @property
    def busy(self) -> bool:
        """Whether a farewell has to wait for it; a stranger that says no hello has no calls to wait for."""
        return (self.open or (self.dialled and not self.ready.is_set())) and not self._quiet.is_set()

    async def wait_idle(self) -> None:
        """Wait until no call of either side is open and all answers are written, or the connection has ended."""
        self._writer.watched = True
        self.poke()
        await self._quiet.wait()

    # --------------------------------------------------------------------------------------- for calls and streams

    def attach(self, stream_id: int, name: str) -> PeerStream:
        """The stream of a call, which gets its events from now on."""
        keep_freed_memory()
        stream = PeerStream(
            stream_id,
            name,
            self.session,
            self._writer.flush_bulk,
            writers=self._writers,
            item_limits=(self.limits.message, self.peer_message_limit),
            gather=self._writer.flush_more,
        )
        return self._streams.add(stream)

    def detach(self, stream_id: int) -> None:
        """Nobody reads or writes that stream any more."""
        self._streams.discard(stream_id)
        self._writers.nudge()
        self.calling.room.nudge()
        self.serving.credit.nudge()

    @property
    def open_streams(self) -> int:
        """How many streams somebody reads or writes here."""
        return len(self._streams)

    @property
    def blocked_streams(self) -> int:
        """How many of them wait until they may send."""
        return self._writers.waiting

    def spawn(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run a task that ends with the connection at the latest."""
        assert self._nursery is not None
        self._nursery.start_soon(function, *args)

    # ---------------------------------------------------------------------------------------------------- duties

    async def _read(self, received: bytes) -> None:
        data, size, read = received, _READ, reader(self._stream)
        while not self._finishing:
            if data and not self._take(data):
                return
            data = bytes(await read(size))
            if not data:
                self._take_end()
                return
            # Large reads make large transfers cheap; for small calls they would be slower.
            size = _LARGE_READ if len(data) >= _READ else _READ

    def _take(self, data: bytes) -> bool:
        """Act on what arrived; False if the connection is over."""
        self.heard = self.now()
        self.calling.answered = 0
        try:
            for event in self.session.receive(data):
                self._handlers[type(event)](event)
                if self._finishing:
                    break
        except HelloRefused as error:
            self.refused = True
            self.refuse_bytes(error)
        except RemoteProtocolError as error:
            self.refuse_bytes(error)
        self.calling.room.nudge()
        self.serving.credit.nudge()
        self._writers.nudge()
        if self._writer.watched or self.session.has_bytes_to_send:
            self.poke()
        return self.session.phase is not _CLOSED

    def _take_end(self) -> None:
        self.reason = self.reason or "the peer closed the connection"
        try:
            self.session.receive_eof()
        except RemoteProtocolError as error:
            self._tell_refused(error)

    def _written(self) -> None:
        """All is written: perhaps somebody waited for that, or for a stream that has sent its last."""
        self.calling.room.nudge()
        # Until the peer has said so as well, its calls may still be on their way over a duplicate.
        silent = self.session.told_to_go_away or not self._superseded
        if self._writer.watched and self.session.idle and silent and self.open:
            self._quiet.set()
            self._finishing = self._finishing or self._superseded
        if self._finishing:
            assert self._nursery is not None
            self._nursery.cancel_scope.cancel()

    async def _write(self) -> None:
        try:
            await self._writer.run(self._written)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # What the peer said before may still wait to be read: an answer, or which calls it refused.
            self.reason = self.reason or str(error) or "the connection broke"
            self.open = self.usable = False
            self._end_within(_LAST_WORDS)

    async def _watch(self) -> None:
        """End a connection that says no hello, or falls silent and does not answer a ping."""
        with trio.move_on_after(self.limits.hello_within):
            await self.ready.wait()
        if not self.ready.is_set():
            self.refuse_bytes(RemoteProtocolError(f"no hello within {self.limits.hello_within:g} s"))
            return
        while True:
            await trio.sleep_until(self.heard + self.limits.idle_interval)
            self.serving.expire_old()
            silent_since = self.heard
            if trio.current_time() < silent_since + self.limits.idle_interval:
                continue
            self.session.ping(b"\0" * 8)
            self.poke()
            await trio.sleep(self.limits.idle_patience)
            if self.heard == silent_since:
                self.close(f"silent for {self.limits.idle_interval + self.limits.idle_patience:g} s")
                return

    def _finish(self) -> None:
        """Write what is left (a refusal says why), for half a second at most, and end."""
        self._finishing = True
        self.open = self.usable = False
        self.poke()
        self._end_within(_LAST_WORDS)

    def _end_within(self, seconds: float) -> None:
        if self._nursery is not None:
            scope = self._nursery.cancel_scope
            scope.deadline = min(scope.deadline, trio.current_time() + seconds)

    def _end(self) -> None:
        self.open = self.usable = False
        reason = self.reason = self.reason or "the connection was closed"
        self._on_end(self)
        self.calling.on_lost(reason, accepted=not self.refused)
        self.serving.on_lost()
        self._streams.on_lost(reason)
        self._quiet.set()
        self.ready.set()
        self.ended.set()

    # ---------------------------------------------------------------------------------------------------- events

    def _table(self) -> dict[type[Event], Callable[[Any], None]]:
        return {
            CallArrived: self.serving.on_call,
            CancelArrived: self.serving.on_cancel,
            ReplyArrived: self.calling.on_answer,
            FailureArrived: self.calling.on_answer,
            CallEnded: self.calling.on_answer,
            StreamsOffered: self.calling.on_offer,
            GoAwayArrived: self._on_go_away,
            **self._streams.handlers(),
            PeerReady: self._on_ready,
            RefusalArrived: self._on_refusal,
            PongArrived: lambda _event: None,
        }

    def _on_ready(self, event: PeerReady) -> None:
        self.peer = event.hello.node
        self.peer_name = self._called or event.hello.node.name
        self.peer_message_limit = event.hello.limits.message
        self.open = True
        self.usable = not (self.session.told_to_go_away or self._superseded)
        try:
            self._adopt(self)
        except HelloRefused as error:
            self.open = self.usable = False
            self.refused = True
            self.reason = str(error)
            self.session.refuse(error.code, str(error))
            self._finish()
        else:
            self.ready.set()

    def _on_refusal(self, event: RefusalArrived) -> None:
        self.refused = True
        self.reason = f"refused by the peer: {event.reason}"
        self._finish()

    def _on_go_away(self, event: GoAwayArrived) -> None:
        self.usable = False
        if event.code == GoAwayCode.DUPLICATE:
            self.go_away(GoAwayCode.DUPLICATE, event.reason)
        self.calling.on_go_away(event)
