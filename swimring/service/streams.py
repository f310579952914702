"""A named byte stream over a session as the application sees it, on either side of a call.

It waits with what the driver brings (`Waiting`), so that nodes on Trio and clients on any event loop share all of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, Self, TypeVar, overload

from swimring.errors import StreamLost, StreamReset
from swimring.mux import ResetCode, StreamState

from .items import ItemStream, kinds_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from swimring.errors import CallError
    from swimring.mux import EndArrived, ResetArrived, Session

    from .feeding import OpenFile
    from .writers import Writers

_MAX_REASON: Final = 200
_TO_SEND: Final = (StreamState.OPEN, StreamState.ENDED_THERE)  # as quick to look up as they are often asked about
_SMALL: Final = 4096
"""Bytes from which on a piece is worth a turn of the scheduler of its own."""
_AT_ONCE: Final = 32
"""Small pieces that may be sent one after the other before other tasks have their turn: they leave together.

Each is a place to be cancelled. A turn for others at each would cost more than twice the time of a small object.
"""
_GATHERED: Final = 64 * 1024

_T = TypeVar("_T")


class Scope(Protocol):
    """A cancel scope."""

    def cancel(self) -> object:
        """End what runs in it."""

    def __enter__(self) -> Any:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        """End; take what it cancelled."""


class Event(Protocol):
    """Something that happens once."""

    def set(self) -> object:
        """It has happened."""

    async def wait(self) -> Any:
        """Wait until it has."""


class MakeScope(Protocol):
    """Makes a cancel scope."""

    def __call__(self, *, shield: bool = ...) -> Scope:
        """A scope, shielded from those around it or not."""


class Signal(Protocol):
    """One task waits for a word from others; a word said early is not lost."""

    def say(self) -> None:
        """Wake the task that waits, or the next that will."""

    async def wait(self) -> None:
        """Wait for a word; at once if one was said since the last time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a stream needs of the event loop it is used on."""

    checkpoint: Callable[[], Awaitable[object]]
    """Let others run, and notice a cancellation."""
    checkpoint_if_cancelled: Callable[[], Awaitable[object]]
    """Notice a cancellation; the other half, letting others run, follows."""
    now: Callable[[], float]
    """Its clock, in seconds."""
    deadline: Callable[[], float]
    """That of the scopes around the task that asks."""
    signal: Callable[[], Signal]
    """Something to wait for."""
    closed: type[Exception]
    """Raised by what is used after this side has closed it."""
    busy: Callable[[], Exception]
    """Raised where a second task sends on a stream."""
    cancelled: Callable[[], type[BaseException]]
    """What a cancelled task meets."""
    scope: MakeScope
    """A cancel scope."""
    event: Callable[[], Event]
    """Something any number of tasks may wait for."""
    open_file: OpenFile
    """Opens a file without blocking."""


class SessionStream:
    """Bytes in both directions between the two ends of one call.

    One task may send while another receives. What was received and not read is bounded by the window of the stream;
    what was sent and not read over there as well, so a slow reader stops its writer and nobody else.
    """

    _waiting: ClassVar[Waiting]  # given by a subclass for each kind of event loop

    def __init__(
        self,
        stream_id: int,
        name: str,
        session: Session,
        poke: Callable[[], None],
        *,
        writers: Writers,
        item_limits: tuple[int, int],
        gather: Callable[[], None] | None = None,
    ) -> None:
        """Belong to a connection; made for each name that a call announces.

        ``item_limits`` are the sizes of the largest objects that this side and the other side take; ``poke`` wakes the
        connection's writer, ``gather`` as well if it is for a small piece that others will follow; ``writers`` are
        those of all its streams.
        """
        self.stream_id = stream_id
        self.name = name
        self._session = session
        self._poke = poke
        self._gather_small = gather or poke
        self._writers = writers
        self._chunks: deque[bytes] = deque()
        self._at_end = False
        self._broken: Callable[[int], CallError] | None = None
        self._closed = False
        self._readable = self._waiting.signal()
        self._writable = self._waiting.signal()
        self._sending = False
        self._in_turn = 0  # small pieces sent since others had their turn, as far as is known here
        self.received = 0
        self.sent = 0
        self.item_limit, self.peer_item_limit = item_limits
        self.when_broken: Callable[[], object] = lambda: None
        """Called when the other side has given up, or the connection is gone."""

    def __repr__(self) -> str:
        state = self._session.stream_state(self.stream_id).value
        return f"<stream {self.name!r}: {state}, {self.received} bytes read, {self.sent} sent>"

    @property
    def at_end(self) -> bool:
        """Whether the other side has sent all, read or not."""
        return self._at_end

    @property
    def broken(self) -> bool:
        """Whether the other side has given it up, or the connection is gone."""
        return self._broken is not None

    # ------------------------------------------------------------------------------------------- the application

    async def send(self, data: bytes | bytearray | memoryview, /) -> None:
        """Send all of ``data``, waiting for credit. After a cancellation some of it may have been sent.

        Raises:
            StreamReset: the other side gave the stream up.
            StreamLost: the connection ended; its ``offset`` counts the bytes handed over before.
            ClosedResourceError: of the event loop's library; this side has closed the stream or sent its end.
        """
        self._in_turn += 1
        if len(data) >= _SMALL or self._in_turn > _AT_ONCE:
            await self._waiting.checkpoint()
            self._in_turn = 1
        else:
            await self._waiting.checkpoint_if_cancelled()
        if self._sending:
            raise self._waiting.busy()
        self._sending = True
        try:
            await self._send(memoryview(data).cast("B"))
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """Tell the other side that nothing more comes; reading goes on.

        Raises:
            StreamReset: the other side gave the stream up.
            StreamLost: the connection ended.
        """
        await self._waiting.checkpoint()
        self._check_sendable()
        self._session.finish(self.stream_id)
        self._poke()

    async def receive(self, max_bytes: int | None = None, /) -> bytes:
        """The next bytes, at most ``max_bytes``; empty at the end. Reading returns credit to the writer.

        Raises:
            StreamReset: the other side gave the stream up before its end.
            StreamLost: the connection ended before the stream did; its ``offset`` counts the bytes read.
            ClosedResourceError: of the event loop's library; this side has closed the stream.
            ValueError: ``max_bytes`` is less than 1; no bytes are the end.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._chunks or not self._more_may_come:
            await self._waiting.checkpoint()
        else:
            await self._waiting.checkpoint_if_cancelled()  # waiting is the other half
        self._in_turn = 0
        while not self._chunks and self._more_may_come:
            await self._readable.wait()
        if not self._chunks:
            return self._end()
        if len(self._chunks) > 1:
            self._gather(max_bytes)
        chunk = self._chunks.popleft()
        if max_bytes is not None and len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self.received += len(chunk)
        self._session.consume(self.stream_id, len(chunk))
        if self._session.has_bytes_to_send:
            self._poke()
        return chunk

    async def checkpoint(self) -> None:
        """Let others run, and notice a cancellation: for who works on what was received before."""
        await self._waiting.checkpoint()

    @overload
    def objects(self, /) -> ItemStream[Any, Any]: ...

    @overload
    def objects(self, kind: type[_T], /) -> ItemStream[_T, _T]: ...

    def objects(self, kind: Any = Any, /) -> ItemStream[Any, Any]:
        """The stream as one of objects of ``kind`` in both directions; the bytes are not to be used beside it.

        Raises:
            ConfigError: a part of the annotation is not supported.
        """
        return ItemStream(self, kinds_of(kind))

    async def aclose(self) -> None:
        """End our direction behind what was sent, and refuse what is not read. Does nothing on a closed stream."""
        self.conclude()
        await self._waiting.checkpoint()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.receive()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None, /
    ) -> None:
        if error is None:
            await self.aclose()
        else:
            self.reset(reset_code(error, self._waiting), type(error).__name__)

    # -------------------------------------------------------------------------------------------- the connection

    def conclude(self) -> None:
        """What `aclose` does, without a checkpoint."""
        if self._session.stream_state(self.stream_id) in _TO_SEND:
            self._session.finish(self.stream_id)
        self.reset(ResetCode.UNWANTED, "not read to its end")

    def reset(self, code: int, reason: str) -> None:
        """Give the stream up; what was received and not read is dropped."""
        self._closed = True
        self._drop()
        self._session.reset(self.stream_id, code, reason[:_MAX_REASON])
        self._writers.nudge()  # what was not sent yet has given its credit back
        self._wake()
        self._poke()

    def arrive(self, data: bytes) -> None:
        """Bytes came in."""
        if self._closed:
            self._session.consume(self.stream_id, len(data))
            return
        self._chunks.append(data)
        self._readable.say()

    def on_end(self, _event: EndArrived) -> None:
        """The other side has sent all."""
        self._at_end = True
        self._readable.say()

    def on_reset(self, event: ResetArrived) -> None:
        """The other side gave up; what it sent before an end of its own remains valid."""
        text = f"stream {self.name!r} was reset: {event.reason}"
        if not self._at_end:
            self._drop()
        self._break(lambda _offset: StreamReset(text, code=event.code))

    def on_lost(self, reason: str) -> None:
        """The connection is gone; what has arrived can still be read."""
        text = f"stream {self.name!r} ended with its connection: {reason}"
        self._break(lambda offset: StreamLost(text, offset=offset))

    def on_credit(self) -> None:
        """More may be sent, or it is this stream's turn to."""
        self._writable.say()

    # --------------------------------------------------------------------------------------------------- inside

    async def _send(self, left: memoryview) -> None:
        writers = self._writers
        try:
            while left:
                self._check_sendable()
                count = self._session.send(self.stream_id, left) if writers.may_send(self) else 0
                if count:
                    self.sent += count
                    left = left[count:]
                    # The first goes at once, since nobody knows of others; what follows it in the same turn, together.
                    if self._in_turn == 1:
                        self._poke()
                    else:
                        self._gather_small()
                    writers.leave(self)
                elif writers.join(self):
                    await self._wait_for_credit()
                else:  # it is the stream's own credit that is spent
                    writers.leave(self)
                    await self._wait_for_credit()
        finally:
            writers.leave(self)
        self._check_sendable()

    async def _wait_for_credit(self) -> None:
        writers, began = self._writers, self._waiting.now()
        writers.waiting += 1
        try:
            await self._writable.wait()
        finally:
            writers.waiting -= 1
            if writers.blocked is not None:
                writers.blocked(self._waiting.now() - began)

    def _check_sendable(self) -> None:
        if self._broken is not None:
            raise self._broken(self.sent)
        if self._session.stream_state(self.stream_id) not in _TO_SEND:
            raise self._waiting.closed

    def _break(self, error: Callable[[int], CallError]) -> None:
        if self._broken is None:
            self._broken = error
            self.when_broken()
        self._wake()

    @property
    def _more_may_come(self) -> bool:
        return not (self._closed or self._at_end or self._broken is not None)

    def _end(self) -> bytes:
        if self._closed:
            raise self._waiting.closed
        if not self._at_end and self._broken is not None:
            raise self._broken(self.received)
        return b""

    def _gather(self, max_bytes: int | None) -> None:
        """Make one of the small chunks at the front: each that is read by itself costs a checkpoint."""
        most = _GATHERED if max_bytes is None else min(max_bytes, _GATHERED)
        count = size = 0
        for chunk in self._chunks:
            size += len(chunk)
            if size > most:
                break
            count += 1
        if count > 1:
            self._chunks.appendleft(b"".join([self._chunks.popleft() for _ in range(count)]))

    def _drop(self) -> None:
        for chunk in self._chunks:
            self._session.consume(self.stream_id, len(chunk))
        self._chunks.clear()

    def _wake(self) -> None:
        self._readable.say()
        self._writable.say()


def reset_code(error: BaseException, waiting: Waiting) -> ResetCode:
    """Why a stream is given up that was left by ``error``."""
    return ResetCode.CANCELLED if isinstance(error, waiting.cancelled()) else ResetCode.FAILED
