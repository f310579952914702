"""Calls over one connection of a client: requests, casts and calls with streams."""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from swimring.codec import decode
from swimring.errors import ConnectionLost, RemoteProtocolError
from swimring.mux import (
    CallHeader,
    CallKind,
    ReplyArrived,
    error_of,
    header_allowance,
    stream_ids,
    why_cancelled,
)
from swimring.service import DueCalls, checked_sources, hold

from .waiting import ANY_LOOP

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.identity import Key
    from swimring.mux import Answer, Limits, Session
    from swimring.service import HeldCall, SessionStream

    from .link import Link
    from .message import Message

_log = logging.getLogger("swimring.client")

_MAX_ATTEMPT: Final = 255


class _Pending:
    """A call whose answer is due."""

    __slots__ = ("_arrived", "answer", "offered")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.offered: dict[str, SessionStream] | None = None
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


class _Sent:
    """One call that was sent, for whoever holds it open."""

    __slots__ = ("_calling", "_id", "_message", "_pending", "_streams")

    def __init__(self, calling: Calling, message: Message, call_id: int, pending: _Pending, streams: range) -> None:
        self._calling = calling
        self._message = message
        self._id = call_id
        self._pending = pending
        self._streams = streams

    def value(self, answer: Answer) -> Any:
        return self._calling.value(answer, self._message.key)

    def cancel(self, reason: str) -> None:
        self._calling.cancel(self._id, self._streams, reason)

    async def withdraw(self, reason: str) -> None:
        await self._calling.withdraw(self._message, self._id, self._pending, self._streams, reason)


class Calling(DueCalls[_Pending]):
    """The calls that were made over one connection and whose answers are due."""

    def __init__(self, link: Link, session: Session, limits: Limits) -> None:
        """No calls yet."""
        super().__init__(link, session)
        self._link = link
        self._grace = limits.cancel_grace
        self._room = anyio.Event()
        self._line = anyio.Lock(fast_acquire=True)

    # ----------------------------------------------------------------------------------------- for the application

    async def request(self, message: Message, *, hops: int = 0, attempt: int = 0) -> Any:
        """Send a request and wait for its answer, at most until the deadline of the surrounding scopes.

        Raises:
            CallError: what became of it.
            LocalProtocolError: the message cannot be sent at all.
        """
        deadline = _deadline(message)
        call_id, pending = await self._begin(message, CallKind.REQUEST, hops, attempt)
        try:
            answer = await pending.wait()
        except anyio.get_cancelled_exc_class():
            if pending.answer is None:
                reason = why_cancelled(deadline, now=anyio.current_time())
                await self.withdraw(message, call_id, pending, range(0), reason)
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
        named, ways = dict(zip(message.streams, ids, strict=True)), _Sent(self, message, call_id, pending, ids)
        async with hold(self._link, pending, named, sources, ways=ways, waiting=ANY_LOOP) as call:
            yield call

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

    def on_lost(self, reason: str, *, accepted: bool = True) -> None:
        """The connection is gone: who waits to send finds that out."""
        super().on_lost(reason, accepted=accepted)
        self._room.set()

    def nudge(self) -> None:
        """There may be room for a call that waits for it, or no reason to wait any more."""
        if self._line.locked():
            self._room.set()
            self._room = anyio.Event()

    # ------------------------------------------------------------------------------------------------------ inside

    async def _begin(self, message: Message, kind: CallKind, hops: int, attempt: int) -> tuple[int, _Pending]:
        await checkpoint_if_cancelled()
        streams = len(message.streams)
        size = len(message.body) + header_allowance(streams)
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

    async def withdraw(self, message: Message, call_id: int, pending: _Pending, streams: range, reason: str) -> None:
        """Tell the other side, and wait a moment until it has stopped: after that it is an orphan."""
        self.cancel(call_id, streams, reason)
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + self._grace):
            await pending.wait()
        self._pending.pop(call_id, None)
        if pending.answer is None:
            owner, text = self._link.peer.name, "%s has not said in time that its handler of %s:%s has ended"
            _log.info(text, owner, message.ns, message.cmd, extra={"event": "request.orphaned", "peer": owner})


def _deadline(message: Message) -> float:
    return anyio.current_effective_deadline() if message.deadline is None else message.deadline


def _header(message: Message, kind: CallKind, hops: int, attempt: int) -> CallHeader:
    """The routing header, with the time that is left until the deadline of the surrounding scopes."""
    deadline = _deadline(message)
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
        forward=message.forward,
    )
