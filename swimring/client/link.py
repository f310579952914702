"""One connection to one node: a session, a task that reads, a task that writes, a task that notices silence.

Only the writer touches the sending side of the stream, so a cancelled call can never leave half a frame behind. What
callers queue while it is busy leaves in one piece.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio

from swimring.codec import decode
from swimring.errors import CallError, ConnectionLost, Draining, RemoteProtocolError, Unreachable
from swimring.mux import (
    CallEnded,
    CallHeader,
    CallKind,
    CreditArrived,
    FailureArrived,
    GoAwayArrived,
    GoAwayCode,
    HelloRefused,
    Phase,
    RefusalArrived,
    RefusalCode,
    ReplyArrived,
    Session,
    decode_failure,
)

from .reaching import BROKEN, reach, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anyio.abc import ByteStream

    from swimring.identity import Address, Key, NodeId
    from swimring.mux import Event, Limits, Secret
    from swimring.security import Certificates

    from .message import Message

_log = logging.getLogger("swimring.client")

_HEADER_ALLOWANCE: Final = 5 * 1024
_MAX_ATTEMPT: Final = 255

_Answer: TypeAlias = ReplyArrived | FailureArrived | CallEnded | CallError


class SecretRefused(Unreachable):
    """There is a node, and one of the two has no secret or another one. Nothing was sent; give both the same."""


class _Pending:
    """A call that waits for its answer."""

    __slots__ = ("answer", "arrived")

    def __init__(self) -> None:
        self.answer: _Answer | None = None
        self.arrived = anyio.Event()

    def settle(self, answer: _Answer) -> None:
        self.answer = answer
        self.arrived.set()


class Link:
    """Calls to one node over one connection. Made by `dial`; it works while `run` does."""

    def __init__(self, *, stream: ByteStream, session: Session, peer: NodeId, limits: Limits) -> None:
        """Take over a connection whose hellos were exchanged."""
        self.peer: Final = peer
        self.reason = ""
        """Why it ended; empty while it has not."""
        self._stream = stream
        self._session = session
        self._limits = limits
        self._pending: dict[int, _Pending] = {}
        self._work = anyio.Event()
        self._room = anyio.Event()
        self._line = anyio.Lock(fast_acquire=True)
        self._idle: anyio.Event | None = None
        self._scope = anyio.CancelScope()
        self._heard = anyio.current_time()

    def __repr__(self) -> str:
        return f"<Link to {self.peer}: {self.reason or 'open'}, {len(self._pending)} calls>"

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return not self.reason and not self._session.told_to_go_away

    # ---------------------------------------------------------------------------------------------------- calls

    async def request(self, message: Message, *, hops: int = 0, attempt: int = 0) -> Any:
        """Send a request and wait for its answer, at most until the deadline of the surrounding scopes.

        Raises:
            CallError: what became of it.
            LocalProtocolError: the message cannot be sent at all.
        """
        call_id, pending = await self._begin(message, CallKind.REQUEST, hops, attempt)
        try:
            await pending.arrived.wait()
        except anyio.get_cancelled_exc_class():
            if pending.answer is None:
                await self._withdraw(call_id, pending)
            raise
        return self._value(pending.answer, message.key)

    async def cast(self, message: Message, *, hops: int = 0, attempt: int = 0) -> None:
        """Send a message that nobody answers; returns when it has credit, which promises nothing.

        Raises:
            CallError: it was not sent.
            LocalProtocolError: the message cannot be sent at all.
        """
        await self._begin(message, CallKind.CAST, hops, attempt)

    async def _begin(self, message: Message, kind: CallKind, hops: int, attempt: int) -> tuple[int, _Pending]:
        size = len(message.body) + _HEADER_ALLOWANCE
        async with self._line:  # who waits for room is served in order: nobody overtakes a large message
            while self.usable and not self._session.has_room(size):
                await self._room.wait()
            if not self.usable:
                raise self._unusable(message.key)
            call_id = self._session.request(_header(message, kind, hops, attempt), message.body)
        pending = _Pending()
        if kind is CallKind.REQUEST:
            self._pending[call_id] = pending
        self._work.set()
        return call_id, pending

    async def _withdraw(self, call_id: int, pending: _Pending) -> None:
        """Tell the other side, and wait a moment until it has stopped."""
        late = anyio.current_effective_deadline() <= anyio.current_time()
        self._session.cancel(call_id, range(0), "the deadline passed" if late else "the caller was cancelled")
        self._work.set()
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + self._limits.cancel_grace):
            await pending.arrived.wait()
        self._pending.pop(call_id, None)

    def _value(self, answer: _Answer | None, key: Key | None) -> Any:
        owner = self.peer.name
        try:
            match answer:
                case ReplyArrived(body=body):
                    return decode(body)
                case FailureArrived(body=body):
                    error: CallError = decode_failure(body, key=key, owner=owner)
                case CallError():
                    error = answer
                    error.key, error.owner = key, owner
                case _:
                    error = ConnectionLost("the call was cancelled", key=key, owner=owner)
        except RemoteProtocolError as fault:
            self.close(str(fault))
            raise ConnectionLost(f"the answer was malformed: {fault}", key=key, owner=owner) from fault
        raise error

    def _unusable(self, key: Key | None) -> CallError:
        if self.reason:
            return Unreachable(self.reason, key=key, owner=self.peer.name)
        return Draining("the node takes no more calls", key=key, owner=self.peer.name)

    # ---------------------------------------------------------------------------------------------- running it

    async def run(self) -> None:
        """Read, write and watch until the connection ends. Raises only what cancels it."""
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write)
                    tasks.start_soon(self._watch)
                    await self._read()
                    tasks.cancel_scope.cancel()
        except* BROKEN as errors:
            self.close(text_of(errors.exceptions[0]))
        except* RemoteProtocolError as errors:
            self.close(str(errors.exceptions[0]))
        except* Exception as errors:  # noqa: BLE001 - a fault of one connection is never the end of the others
            _log.exception("the connection to %s crashed", self.peer)
            self.close(f"a fault of the client: {errors.exceptions[0]!r}")
        finally:
            self._end()
            await anyio.aclose_forcefully(self._stream)

    def close(self, reason: str) -> None:
        """End the connection now; calls under way are lost."""
        self.reason = self.reason or reason
        self._scope.cancel()

    async def wait_idle(self) -> None:
        """Wait until everything is written and every call, casts included, is over; or the connection has ended."""
        if self.reason:
            return
        self._idle = self._idle or anyio.Event()
        self._work.set()
        await self._idle.wait()

    def take(self, events: Iterable[Event]) -> None:
        """Act on what the session reports."""
        for event in events:
            match event:
                case ReplyArrived() | FailureArrived() | CallEnded():
                    self._settle(event.call_id, event)
                case GoAwayArrived():
                    for call_id in event.refused:
                        self._settle(call_id, Draining(event.reason, retry_after=event.retry_after))
                case CreditArrived():
                    pass
                case _:
                    continue  # nothing of streams, and no call: our GOAWAY went out with the hello
            if self._line.locked():
                self._room.set()
                self._room = anyio.Event()

    def _settle(self, call_id: int, answer: _Answer) -> None:
        pending = self._pending.pop(call_id, None)
        if pending is not None:
            pending.settle(answer)

    async def _read(self) -> None:
        while True:
            try:
                data = await self._stream.receive()
            except anyio.EndOfStream:
                self.reason = self.reason or "the node closed the connection"
                return
            self._heard = anyio.current_time()
            self.take(self._session.receive(data))
            if self._idle is not None or self._session.has_bytes_to_send:
                self._work.set()

    async def _write(self) -> None:
        while True:
            self._work = anyio.Event()
            while data := self._session.bytes_to_send():
                await self._stream.send(data)
            if self._idle is not None and self._session.idle:
                self._idle.set()
            await self._work.wait()

    async def _watch(self) -> None:
        """End a connection that falls silent and does not answer a ping."""
        limits = self._limits
        while True:
            silence = anyio.current_time() - self._heard
            if silence < limits.idle_interval:
                await anyio.sleep(limits.idle_interval - silence)
                continue
            silent_since = self._heard
            self._session.ping(b"\0" * 8)
            self._work.set()
            await anyio.sleep(limits.idle_patience)
            if self._heard == silent_since:
                self.close(f"silent for {limits.idle_interval + limits.idle_patience:g} s")

    def _end(self) -> None:
        self.reason = self.reason or "the connection was closed"
        for call_id, pending in self._pending.items():
            kind = ConnectionLost if self._session.was_sent(call_id) else Unreachable
            pending.settle(kind(self.reason))
        self._pending.clear()
        self._room.set()
        if self._idle is not None:
            self._idle.set()


async def dial(
    address: Address,
    *,
    me: NodeId,
    cluster: str | None,
    limits: Limits,
    secret: Secret | None = None,
    certificates: Certificates | None = None,
) -> Link:
    """Connect, and exchange hellos; without ``cluster`` with a node of any. The caller has to `Link.run` the link.

    With a ``secret`` only a node that has it, too, will do; with ``certificates`` one whose own they accept.

    Raises:
        Unreachable: nobody is there, or no node of that cluster; the text says what was found instead.
    """
    try:
        with anyio.fail_after(limits.dial_within):
            stream = await reach(address, certificates)
    except (OSError, anyio.EndOfStream) as error:  # TimeoutError is an OSError
        raise Unreachable(text_of(error)) from error
    try:
        with anyio.fail_after(limits.hello_within):
            return await _shake_hands(stream, me=me, cluster=cluster, limits=limits, secret=secret)
    except BaseException as error:
        await anyio.aclose_forcefully(stream)
        if isinstance(error, HelloRefused) and error.code is RefusalCode.SECRET:
            raise SecretRefused(str(error)) from error
        if isinstance(error, (RemoteProtocolError, anyio.EndOfStream, *BROKEN)):
            raise Unreachable(f"no hello of a node: {text_of(error)}") from error
        raise


async def _shake_hands(
    stream: ByteStream, *, me: NodeId, cluster: str | None, limits: Limits, secret: Secret | None
) -> Link:
    session = Session(me=me, cluster=cluster, limits=limits, dialled=True, client=True, secret=secret)
    await stream.send(session.bytes_to_send())
    events: list[Event] = []
    while session.phase is not Phase.OPEN:
        events += session.receive(await stream.receive())
        for event in events:
            if isinstance(event, RefusalArrived):
                if event.code == RefusalCode.SECRET:
                    raise SecretRefused(event.reason)
                raise Unreachable(f"refused: {event.reason}")
    assert session.peer is not None
    # We answer nothing, and say so; that also tells the node not to mourn this connection when it ends.
    session.go_away(GoAwayCode.DRAINING, "a client answers no calls")
    link = Link(stream=stream, session=session, peer=session.peer.node, limits=limits)
    link.take(events)
    return link


def _header(message: Message, kind: CallKind, hops: int, attempt: int) -> CallHeader:
    """The routing header, with the time that is left until the deadline of the surrounding scopes."""
    return CallHeader(
        ns=message.ns,
        cmd=message.cmd,
        key=message.key,
        kind=kind,
        remaining=anyio.current_effective_deadline() - anyio.current_time(),
        idempotent=message.idempotent,
        hops=hops,
        attempt=min(attempt, _MAX_ATTEMPT),
    )
