"""Calls over one connection of a client: requests, casts and calls with streams."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from swimring.codec import decode
from swimring.errors import CallError, ConnectionLost, Draining, RemoteProtocolError, Unreachable
from swimring.mux import (
    CallEnded,
    CallHeader,
    CallKind,
    ReplyArrived,
    ResetCode,
    error_of,
    outcome_of,
    stream_ids,
)
from swimring.service import checked_sources, feed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from swimring.identity import Key
    from swimring.mux import Answer, FailureArrived, GoAwayArrived, Limits, Session, StreamsOffered
    from swimring.service import Source

    from .link import Link
    from .message import Message
    from .waiting import LinkStream

_HEADER_ALLOWANCE: Final = 5 * 1024
_MAX_ATTEMPT: Final = 255


class _Pending:
    """A call whose answer is due."""

    __slots__ = ("_arrived", "answer", "offered")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.offered: dict[str, LinkStream] | None = None
        """The streams that came with the answer; None if nobody is there to read any."""
        self._arrived = anyio.Event()

    def settle(self, answer: Answer) -> None:
        """The answer is there."""
        self.answer = answer
        self._arrived.set()

    async def wait(self) -> Answer:
        """Wait for the answer."""
        if self.answer is None:
            await self._arrived.wait()
        assert self.answer is not None
        return self.answer


class _Feeder:
    """A task that fills one stream; the block of the call waits for it."""

    __slots__ = ("finished", "scope", "source", "stream")

    def __init__(self, stream: LinkStream, source: Source) -> None:
        self.stream = stream
        self.source = source
        self.scope = anyio.CancelScope()
        self.finished = anyio.Event()


class HeldCall:
    """A call with streams, while the block of `Calling.open` runs."""

    def __init__(self, calling: Calling, pending: _Pending, key: Key | None, streams: Mapping[str, LinkStream]) -> None:
        """Made by `Calling.open`."""
        self.streams: Final = streams
        self.offered: Final[dict[str, LinkStream]] = {}
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

    async def result(self) -> Any:
        """Wait for the handler's value; by any task, as often as you like.

        Raises:
            CallError: the handler failed, or the connection did.
            Exception: a source of a stream raised this while it was read; the call was cancelled.
        """
        await checkpoint()
        answer = await self._pending.wait()
        if isinstance(answer, CallEnded) and self.source_failure is not None:
            raise self.source_failure
        return self._calling.value(answer, self._key)


class Calling:
    """The calls that were made over one connection and whose answers are due."""

    def __init__(self, link: Link, session: Session, limits: Limits) -> None:
        """No calls yet."""
        self._link = link
        self._session = session
        self._grace = limits.cancel_grace
        self._pending: dict[int, _Pending] = {}
        self._room = anyio.Event()
        self._line = anyio.Lock(fast_acquire=True)

    def __len__(self) -> int:
        return len(self._pending)

    # ----------------------------------------------------------------------------------------- for the application

    async def request(self, message: Message, *, hops: int = 0, attempt: int = 0) -> Any:
        """Send a request and wait for its answer, at most until the deadline of the surrounding scopes.

        Raises:
            CallError: what became of it.
            LocalProtocolError: the message cannot be sent at all.
        """
        call_id, pending = await self._begin(message, CallKind.REQUEST, hops, attempt)
        try:
            answer = await pending.wait()
        except anyio.get_cancelled_exc_class():
            if pending.answer is None:
                await self._withdraw(call_id, pending, range(0), "the caller was cancelled")
            raise
        return self.value(answer, message.key)

    async def cast(self, message: Message, *, hops: int = 0, attempt: int = 0) -> None:
        """Send a message that nobody answers; returns when it has credit, which promises nothing.

        Raises:
            CallError: it was not sent.
            LocalProtocolError: the message cannot be sent at all.
        """
        await checkpoint()
        call_id, _pending = await self._begin(message, CallKind.CAST, hops, attempt)
        del self._pending[call_id]

    @asynccontextmanager
    async def open(self, message: Message, *, hops: int = 0, attempt: int = 0) -> AsyncIterator[HeldCall]:
        """Send a request with streams; leaving the block before its answer cancels it."""
        await checkpoint()
        sources = checked_sources(message.streams)
        call_id, pending = await self._begin(message, CallKind.REQUEST, hops, attempt)
        ids = stream_ids(call_id, len(message.streams))
        streams = {name: self._link.attach(ident, name) for name, ident in zip(message.streams, ids, strict=True)}
        call = HeldCall(self, pending, message.key, streams)
        pending.offered = call.offered
        feeders = [_Feeder(streams[name], source) for name, source in sources.items()]
        try:
            for feeder in feeders:
                self._link.spawn(self._feed, feeder, call, call_id, ids)
            yield call
        except BaseException as error:
            _give_up(call.offered, error)
            raise
        finally:
            for feeder in feeders:
                feeder.scope.cancel()
            if pending.answer is None:
                await self._withdraw(call_id, pending, ids, "the caller left the block of its call")
                call.orphaned = pending.answer is None
            for stream in (*streams.values(), *call.offered.values()):
                stream.conclude()
                self._link.detach(stream.stream_id)
            self.nudge()
            if feeders:
                with anyio.CancelScope(shield=True):
                    for feeder in feeders:
                        await feeder.finished.wait()

    def value(self, answer: Answer, key: Key | None) -> Any:
        """The value of an answer, or the error that it is."""
        owner = self._link.peer.name
        try:
            if isinstance(answer, ReplyArrived):
                return decode(answer.body)
            error = error_of(answer, key=key, owner=owner)
        except RemoteProtocolError as fault:
            self._link.close(str(fault))
            raise ConnectionLost(f"the answer was malformed: {fault}", key=key, owner=owner) from fault
        raise error

    # ---------------------------------------------------------------------------------------- for the connection

    def on_answer(self, event: ReplyArrived | FailureArrived | CallEnded) -> None:
        """An answer came in; of a call that nobody waits for any more it is dropped."""
        self._settle(event.call_id, event)

    def on_offer(self, event: StreamsOffered) -> None:
        """Streams come with an answer; they are given up if nobody holds the call open."""
        pending = self._pending.get(event.call_id)
        if pending is None or pending.offered is None:
            for stream_id in event.streams.values():
                self._session.reset(stream_id, ResetCode.UNWANTED, "nobody reads the streams of this answer")
            return
        for name, stream_id in event.streams.items():
            pending.offered[name] = self._link.attach(stream_id, name)

    def on_go_away(self, event: GoAwayArrived) -> None:
        """The node takes no more calls; those it had not accepted are certain not to have run."""
        for call_id in event.refused:
            self._settle(call_id, Draining(event.reason, retry_after=event.retry_after))

    def on_lost(self, reason: str) -> None:
        """The connection is gone: what was sent may have run."""
        for call_id, pending in self._pending.items():
            kind = ConnectionLost if self._session.was_sent(call_id) else Unreachable
            pending.settle(kind(reason))
        self._pending.clear()
        self._room.set()

    def nudge(self) -> None:
        """There may be room for a call that waits for it, or no reason to wait any more."""
        if self._line.locked():
            self._room.set()
            self._room = anyio.Event()

    # ------------------------------------------------------------------------------------------------------ inside

    async def _begin(self, message: Message, kind: CallKind, hops: int, attempt: int) -> tuple[int, _Pending]:
        await checkpoint_if_cancelled()
        size, streams = len(message.body) + _HEADER_ALLOWANCE, len(message.streams)
        if not self._line.locked() and self._session.has_room(size, streams):
            return self._send(message, kind, hops, attempt)
        async with self._line:  # who waits for room is served in order: nobody overtakes a large message
            while self._link.usable and not self._session.has_room(size, streams):
                await self._room.wait()
            return self._send(message, kind, hops, attempt)

    def _send(self, message: Message, kind: CallKind, hops: int, attempt: int) -> tuple[int, _Pending]:
        if not self._link.usable:
            raise self._link.unusable(message.key)
        call_id = self._session.request(_header(message, kind, hops, attempt), message.body)
        pending = self._pending[call_id] = _Pending()
        self._link.poke()
        return call_id, pending

    async def _withdraw(self, call_id: int, pending: _Pending, streams: range, reason: str) -> None:
        """Tell the other side, and wait a moment until it has stopped: after that it is an orphan."""
        late = anyio.current_effective_deadline() <= anyio.current_time()
        self._session.cancel(call_id, streams, "the deadline passed" if late else reason)
        self._link.poke()
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + self._grace):
            await pending.wait()
        self._pending.pop(call_id, None)

    def _settle(self, call_id: int, answer: Answer) -> None:
        pending = self._pending.pop(call_id, None)
        if pending is not None:
            pending.settle(answer)

    async def _feed(self, feeder: _Feeder, call: HeldCall, call_id: int, streams: range) -> None:
        try:
            with feeder.scope:
                await feed(feeder.stream, feeder.source, anyio.open_file)
        except CallError:
            # The stream or the connection broke: the result of the call says so better.
            feeder.stream.conclude()
        except Exception as error:  # noqa: BLE001 - any error of a source belongs to the caller, not to us
            call.source_failure = call.source_failure or error  # the others end because of the first
            self._session.cancel(call_id, streams, f"a source failed: {type(error).__name__}")
            self._link.poke()
        finally:
            feeder.finished.set()


def _give_up(streams: Mapping[str, LinkStream], error: BaseException) -> None:
    cancelled = isinstance(error, anyio.get_cancelled_exc_class())
    code = ResetCode.CANCELLED if cancelled else ResetCode.FAILED
    for stream in streams.values():
        stream.reset(code, f"the caller left: {type(error).__name__}")


def _header(message: Message, kind: CallKind, hops: int, attempt: int) -> CallHeader:
    """The routing header, with the time that is left until the deadline of the surrounding scopes."""
    deadline = anyio.current_effective_deadline() if message.deadline is None else message.deadline
    return CallHeader(
        ns=message.ns,
        cmd=message.cmd,
        key=message.key,
        kind=kind,
        remaining=deadline if deadline == math.inf else deadline - anyio.current_time(),
        idempotent=message.idempotent,
        streams=tuple(message.streams) if message.streams else (),
        traceparent=message.traceparent,
        hops=hops,
        attempt=min(attempt, _MAX_ATTEMPT),
    )
