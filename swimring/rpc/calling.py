"""Calls made here: requests, casts and calls with streams over one connection."""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.codec import decode
from swimring.errors import CallError, ConnectionLost, Draining, RemoteProtocolError
from swimring.instrument import Instrument
from swimring.mux import (
    CallHeader,
    CallKind,
    FailureArrived,
    ReplyArrived,
    encode_fields,
    error_of,
    header_allowance,
    stream_ids,
    why_cancelled,
)
from swimring.service import DueCalls, checked_sources, hold

from .forwarding import Relayed
from .parking import Turnstile
from .streams import TRIO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from swimring.identity import Key
    from swimring.mux import Answer, CallEnded, GoAwayArrived
    from swimring.service import HeldCall, SessionStream

    from .connection import Connection
    from .outgoing import Outgoing

_log = logging.getLogger("swimring.rpc")

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
        self.offered: dict[str, SessionStream] | None = None
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


class _Sent:
    """One call that was sent, for whoever holds it open."""

    __slots__ = ("_calling", "_id", "_out", "_pending", "_streams")

    def __init__(self, calling: Calling, out: Outgoing, call_id: int, pending: _Pending, streams: range) -> None:
        self._calling = calling
        self._out = out
        self._id = call_id
        self._pending = pending
        self._streams = streams

    def value(self, answer: Answer) -> object:
        return self._calling.value(answer, self._out.key)

    def cancel(self, reason: str) -> None:
        self._calling.cancel(self._id, self._streams, reason)

    async def withdraw(self, reason: str) -> None:
        await self._calling.withdraw(self._out, self._id, self._pending, self._streams, reason)


class Calling(DueCalls[_Pending]):
    """The calls that this side of a connection has made and whose answers are due."""

    def __init__(self, connection: Connection) -> None:
        """No calls yet."""
        super().__init__(connection, connection.session)
        self._connection = connection
        self._flush = connection.flush
        self.answered = 0
        """How many answers came with the last bytes that arrived."""
        self.room = Turnstile()

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
        plain = not (out.attempt or out.hops or out.streams)
        if plain and connection.usable and not self.room.queue:
            remaining = deadline if deadline == math.inf else deadline - connection.now()
            call_id = self._session.ask(
                out.ns, out.cmd, out.key, remaining, body, idempotent=out.idempotent, traceparent=out.traceparent
            )
        if call_id is None:
            call_id = await self._send_when_possible(out, _REQUEST, body)
        pending = self._pending[call_id] = _Pending(trio.lowlevel.current_task())
        # After an answer among others, those who got the others are about to call as well.
        self._flush(alone=len(self._pending) == 1 and self.answered <= 1)
        try:
            await trio.lowlevel.wait_task_rescheduled(pending.abort)
        except trio.Cancelled:
            await self.withdraw(out, call_id, pending, range(0), why_cancelled(deadline, now=trio.current_time()))
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
        deadline = trio.current_effective_deadline()
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
            await self.withdraw(header, call_id, pending, range(0), why_cancelled(deadline, now=trio.current_time()))
            raise
        if isinstance(answer, (ReplyArrived, FailureArrived)):
            return Relayed(body=answer.body, failed=isinstance(answer, FailureArrived))
        raise self._error(answer, header.key)

    @asynccontextmanager
    async def open(self, out: Outgoing) -> AsyncIterator[HeldCall]:
        """Send a request with streams; leaving the block before its answer cancels it."""
        await trio.lowlevel.checkpoint()
        sources = checked_sources(out.streams)
        call_id, pending = await self._begin(out, CallKind.REQUEST)
        ids = stream_ids(call_id, len(out.streams))
        named, ways = dict(zip(out.streams, ids, strict=True)), _Sent(self, out, call_id, pending, ids)
        async with hold(self._connection, pending, named, sources, ways=ways, waiting=TRIO) as call:
            yield call

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

    def on_go_away(self, event: GoAwayArrived) -> None:
        """The peer takes no more calls: who waits to send finds that out, too."""
        super().on_go_away(event)
        self.room.nudge()

    def on_lost(self, reason: str, *, accepted: bool = True) -> None:
        """The connection is gone: who waits to send finds that out, too."""
        super().on_lost(reason, accepted=accepted)
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
        connection, session, size = self._connection, self._session, body + header_allowance(streams)
        if self.room.queue or not session.has_room(size, streams):
            await self.room.wait_turn(lambda: not connection.usable or session.has_room(size, streams))
        if not connection.usable:
            raise connection.unusable(key)

    async def withdraw(
        self, out: Outgoing | CallHeader, call_id: int, pending: _Pending, streams: range, reason: str
    ) -> None:
        """Tell the other side, and wait a moment until it has stopped: after that it is an orphan."""
        self.cancel(call_id, streams, reason)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + self._connection.cancel_grace):
            await pending.wait()
        self._pending.pop(call_id, None)
        if pending.answer is None:
            owner = self._connection.peer_name
            self._connection.instruments.tell(Instrument.call_orphaned, out.ns, out.cmd, out.key, owner)
            text = "%s has not said in time that its handler of %s:%s has ended, which nobody waits for"
            _log.info(text, owner, out.ns, out.cmd, extra={"event": "request.orphaned", "peer": owner})
