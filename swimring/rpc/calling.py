"""Calls made here: requests, casts and calls with streams over one connection."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.codec import decode
from swimring.errors import CallError, ConnectionLost, Draining, RemoteProtocolError, Unreachable
from swimring.instrument import Instrument
from swimring.mux import (
    CallEnded,
    CallHeader,
    CallKind,
    FailureArrived,
    ReplyArrived,
    ResetCode,
    encode_fields,
    error_of,
    outcome_of,
    stream_ids,
)
from swimring.service import checked_sources, feed

from .failing import failure_in
from .forwarding import Relayed
from .parking import Turnstile
from .streams import reset_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from swimring.identity import Key
    from swimring.mux import Answer, GoAwayArrived, StreamsOffered
    from swimring.service import Source

    from .connection import Connection
    from .outgoing import Outgoing
    from .streams import PeerStream

_HEADER_ALLOWANCE: Final = 5 * 1024
_REQUEST: Final = CallKind.REQUEST  # as quick to look up as it is often needed


class Superseded(Draining):
    """Another connection to the same peer took over before the call was sent: ask again there.

    `Peer` does, so that nobody outside of this package meets it; a call that was sent and refused is `Draining`.
    """


def _remaining() -> float:
    """The time that is left until the deadline of the surrounding scopes."""
    deadline = trio.current_effective_deadline()
    return deadline if deadline == math.inf else deadline - trio.current_time()


def _header(out: Outgoing, kind: CallKind) -> CallHeader:
    """The routing header, with the time that is left."""
    return CallHeader(
        ns=out.ns,
        cmd=out.cmd,
        key=out.key,
        kind=kind,
        remaining=_remaining(),
        idempotent=out.idempotent,
        streams=tuple(out.streams) if out.streams else (),
        traceparent=out.traceparent,
        hops=out.hops,
        attempt=out.attempt,
    )


class _Pending:
    """A call that waits for its answer: one task parked on itself, which is cheap, or any number."""

    __slots__ = ("_arrived", "_task", "answer", "offered")

    def __init__(self, task: trio.lowlevel.Task | None = None) -> None:
        """With the ``task`` that is about to park itself until `settle`, if there is one already."""
        self.answer: Answer | None = None
        self.offered: dict[str, PeerStream] | None = None
        """The streams that came with the answer; None if nobody is there to read any."""
        self._task = task
        self._arrived: trio.Event | None = None

    def settle(self, answer: Answer) -> None:
        """The answer is there."""
        self.answer = answer
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)
        if self._arrived is not None:
            self._arrived.set()

    def abort(self, _raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        """The task stops waiting."""
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def wait(self) -> Answer:
        """Wait for the answer, beside whoever else does."""
        if self.answer is None:
            if self._arrived is None:
                self._arrived = trio.Event()
            await self._arrived.wait()
        assert self.answer is not None
        return self.answer


class _Feeder:
    """A task that fills one stream; the block of the call waits for it."""

    __slots__ = ("finished", "scope", "source", "stream")

    def __init__(self, stream: PeerStream, source: Source) -> None:
        self.stream = stream
        self.source = source
        self.scope = trio.CancelScope()
        self.finished = trio.Event()


class Call:
    """A call with streams, while the block of `Peer.open` runs."""

    def __init__(self, calling: Calling, pending: _Pending, key: Key | None, streams: Mapping[str, PeerStream]) -> None:
        """Made by `Peer.open`."""
        self.streams: Mapping[str, PeerStream] = streams
        self.offered: dict[str, PeerStream] = {}
        self.source_failure: Exception | None = None
        self.orphaned = False
        self._calling = calling
        self._pending = pending
        self._key = key

    @property
    def outcome(self) -> str:
        """What became of it: see `swimring.service.OpenCall.outcome`."""
        answer = self._pending.answer
        if answer is None:
            return "orphaned" if self.orphaned else "open"
        return outcome_of(answer)

    async def result(self) -> object:
        """Wait for the handler's value; any number of tasks, as often as they like.

        Raises:
            CallError: the handler failed, or the connection did.
            Exception: a source of a stream raised this while it was read; the call was cancelled.
        """
        await trio.lowlevel.checkpoint()
        answer = await self._pending.wait()
        if isinstance(answer, CallEnded) and self.source_failure is not None:
            raise self.source_failure
        return self._calling.value(answer, self._key)


def _give_up(streams: Mapping[str, PeerStream], error: BaseException) -> None:
    for stream in streams.values():
        stream.reset(reset_code(error), f"the caller left: {type(error).__name__}")


class Calling:
    """The calls that this side of a connection has made and whose answers are due."""

    def __init__(self, connection: Connection) -> None:
        """No calls yet."""
        self._connection = connection
        self._session = connection.session
        self._flush = connection.flush
        self._pending: dict[int, _Pending] = {}
        self.answered = 0
        """How many answers came with the last bytes that arrived."""
        self.room = Turnstile()

    def __len__(self) -> int:
        return len(self._pending)

    # ----------------------------------------------------------------------------------------- for the application

    async def request(self, out: Outgoing) -> object:
        """Send a request and wait for its answer, at most until the deadline of the surrounding scopes.

        Raises:
            CallError: see the classes; ``maybe_executed`` says whether the handler may have run.
            LocalProtocolError: the message cannot be sent at all.
        """
        deadline = trio.current_effective_deadline()
        if deadline == -math.inf:  # only in a scope that was cancelled: nothing is sent then
            await trio.lowlevel.checkpoint_if_cancelled()
        body, connection, call_id = encode_fields(out.fields), self._connection, None
        if connection.usable and not self.room.queue and out.plain:
            remaining = deadline if deadline == math.inf else deadline - trio.current_time()
            call_id = self._session.ask(out.ns, out.cmd, out.key, remaining, body, idempotent=out.idempotent)
        if call_id is None:
            call_id = await self._send_when_possible(out, _REQUEST, body)
        pending = self._pending[call_id] = _Pending(trio.lowlevel.current_task())
        # After an answer among others, those who got the others are about to call as well.
        self._flush(alone=len(self._pending) == 1 and self.answered <= 1)
        try:
            await trio.lowlevel.wait_task_rescheduled(pending.abort)
        except trio.Cancelled:
            await self._withdraw(out, call_id, pending, range(0), "the caller was cancelled")
            raise
        answer = pending.answer
        if type(answer) is ReplyArrived:
            try:
                return decode(answer.body)
            except RemoteProtocolError:
                pass
        assert answer is not None
        return self.value(answer, out.key)

    async def cast(self, out: Outgoing) -> None:
        """Send a message that nobody answers; returns when it has credit, which promises nothing."""
        await trio.lowlevel.checkpoint()
        call_id, _pending = await self._begin(out, CallKind.CAST)
        del self._pending[call_id]

    async def relay(self, header: CallHeader, body: bytes) -> Relayed:
        """Send somebody else's call on as it came, and wait for its answer, which is not decoded either.

        Raises:
            CallError: there is no answer.
            LocalProtocolError: it is too large for the other side.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._wait_for_room(len(body), 0, header.key)
        call_id = self._session.request(replace(header, remaining=_remaining()), body)
        pending = self._pending[call_id] = _Pending()
        self._flush(alone=len(self._pending) == 1)
        if header.kind is CallKind.CAST:
            del self._pending[call_id]
            return Relayed(body=b"")
        try:
            answer = await pending.wait()
        except trio.Cancelled:
            await self._withdraw(header, call_id, pending, range(0), "the caller was cancelled")
            raise
        if isinstance(answer, (ReplyArrived, FailureArrived)):
            return Relayed(body=answer.body, failed=isinstance(answer, FailureArrived))
        raise self._error(answer, header.key)

    @asynccontextmanager
    async def open(self, out: Outgoing) -> AsyncIterator[Call]:
        """Send a request with streams; leaving the block before its answer cancels it."""
        await trio.lowlevel.checkpoint()
        sources = checked_sources(out.streams)
        call_id, pending = await self._begin(out, CallKind.REQUEST)
        ids = stream_ids(call_id, len(out.streams))
        streams = {name: self._connection.attach(ident, name) for name, ident in zip(out.streams, ids, strict=True)}
        call = Call(self, pending, out.key, streams)
        pending.offered = call.offered
        feeders = [_Feeder(streams[name], source) for name, source in sources.items()]
        try:
            for feeder in feeders:
                self._connection.spawn(self._feed, feeder, call, call_id, ids)
            yield call
        except BaseException as error:
            _give_up(call.offered, error)
            raise
        finally:
            for feeder in feeders:
                feeder.scope.cancel()
            if pending.answer is None:
                await self._withdraw(out, call_id, pending, ids, "the caller left the block of its call")
                call.orphaned = pending.answer is None
            for stream in (*streams.values(), *call.offered.values()):
                stream.conclude()
                self._connection.detach(stream.stream_id)
            with trio.CancelScope(shield=True):
                for feeder in feeders:
                    await feeder.finished.wait()

    def value(self, answer: Answer, key: Key | None) -> object:
        """The value of an answer, or the error that it is."""
        if type(answer) is ReplyArrived:
            try:
                return decode(answer.body)
            except RemoteProtocolError as error:
                self._connection.refuse_bytes(error)
                owner = self._connection.peer_name
                raise ConnectionLost(f"the reply was malformed: {error}", key=key, owner=owner) from error
        raise self._error(answer, key)

    def _error(self, answer: Answer, key: Key | None) -> CallError:
        owner = self._connection.peer_name
        try:
            return error_of(answer, key=key, owner=owner)
        except RemoteProtocolError as error:
            self._connection.refuse_bytes(error)
            raise ConnectionLost(f"the failure was malformed: {error}", key=key, owner=owner) from error

    # ------------------------------------------------------------------------------------------ for the connection

    def on_answer(self, event: ReplyArrived | FailureArrived | CallEnded) -> None:
        """An answer came in; of a call that nobody waits for any more it is dropped."""
        pending = self._pending.pop(event.call_id, None)
        if pending is not None:
            self.answered += 1
            pending.settle(event)

    def on_offer(self, event: StreamsOffered) -> None:
        """Streams come with an answer; they are given up if nobody holds the call open."""
        pending = self._pending.get(event.call_id)
        if pending is None or pending.offered is None:
            for stream_id in event.streams.values():
                self._session.reset(stream_id, ResetCode.UNWANTED, "nobody reads the streams of this answer")
            return
        for name, stream_id in event.streams.items():
            pending.offered[name] = self._connection.attach(stream_id, name)

    def on_go_away(self, event: GoAwayArrived) -> None:
        """The peer takes no more calls; those it had not accepted are certain not to have run."""
        for call_id in event.refused:
            pending = self._pending.pop(call_id, None)
            if pending is not None:
                pending.settle(Draining(event.reason, retry_after=event.retry_after))
        self.room.nudge()

    def on_lost(self, reason: str, *, accepted: bool) -> None:
        """The connection is gone: what was sent may have run, unless the peer refused all of us."""
        for call_id, pending in self._pending.items():
            if accepted and self._session.was_sent(call_id):
                pending.settle(ConnectionLost(reason))
            else:
                pending.settle(Unreachable(reason))
        self._pending.clear()
        self.room.nudge()

    # ------------------------------------------------------------------------------------------------------ inside

    async def _begin(self, out: Outgoing, kind: CallKind) -> tuple[int, _Pending]:
        await trio.lowlevel.checkpoint_if_cancelled()
        call_id = await self._send_when_possible(out, kind, encode_fields(out.fields))
        pending = self._pending[call_id] = _Pending()
        self._flush(alone=len(self._pending) == 1)
        return call_id, pending

    async def _send_when_possible(self, out: Outgoing, kind: CallKind, body: bytes) -> int:
        """Wait for room, if there is none now, and send; whoever calls has to flush."""
        await self._wait_for_room(len(body), len(out.streams), out.key)
        return self._session.request(_header(out, kind), body)

    async def _wait_for_room(self, body: int, streams: int, key: Key | None) -> None:
        """Wait until a request with so many bytes of body may be sent, if it may not be now."""
        connection, session, size = self._connection, self._session, body + _HEADER_ALLOWANCE
        if self.room.queue or not session.has_room(size, streams):
            await self.room.wait_turn(lambda: not connection.usable or session.has_room(size, streams))
        if not connection.usable:
            raise connection.unusable(key)

    async def _withdraw(
        self, out: Outgoing | CallHeader, call_id: int, pending: _Pending, streams: range, reason: str
    ) -> None:
        """Tell the other side, and wait a moment until it has stopped: after that it is an orphan."""
        late = trio.current_effective_deadline() <= trio.current_time()
        self._session.cancel(call_id, streams, "the deadline passed" if late else reason)
        self._connection.poke()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + self._connection.cancel_grace):
            await pending.wait()
        self._pending.pop(call_id, None)
        if pending.answer is None:
            owner = self._connection.peer_name
            self._connection.instruments.tell(Instrument.call_orphaned, out.ns, out.cmd, out.key, owner)

    async def _feed(self, feeder: _Feeder, call: Call, call_id: int, streams: range) -> None:
        try:
            with feeder.scope:
                await feed(feeder.stream, feeder.source, trio.open_file)
        except CallError:
            # The stream or the connection broke: the result of the call says so better.
            feeder.stream.conclude()
        except BaseException as error:  # noqa: BLE001 - what is not the failure of a source goes on
            failure, others = failure_in(error)
            if failure is not None:
                call.source_failure = call.source_failure or failure  # the others end because of the first
                self._session.cancel(call_id, streams, f"a source failed: {type(failure).__name__}")
                self._connection.poke()
            if others is not None:
                raise others from None
        finally:
            feeder.finished.set()
