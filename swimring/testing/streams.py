"""Simulated connections: in order, with latency, bounded, half-closeable; ended by EOF, by reset or by silence."""

from __future__ import annotations

import operator
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from .fabric import RETRANSMIT_AFTER, Fabric, Life
from .faults import PacketKind

if TYPE_CHECKING:
    from swimring.identity import Address

    from .faults import Verdict

_LARGEST_READ: Final = 65_536


@dataclass(frozen=True, slots=True)
class _Data:
    content: bytes


@dataclass(frozen=True, slots=True)
class _End:
    """No more data will follow."""


@dataclass(frozen=True, slots=True)
class _Reset:
    """This connection is not known here (any more)."""


_Segment = _Data | _End | _Reset


class _Pipe:
    """One direction of a connection: keeps the order, and holds everything while a cut stops the first segment."""

    def __init__(
        self, fabric: Fabric, source: str, target: str, destination: SimulatedStream, *, connection: int
    ) -> None:
        self._fabric = fabric
        self._connection = connection
        self._source = source
        self._target = target
        self._destination = destination
        self._queue: deque[tuple[float, _Segment]] = deque()
        self.bytes_in_flight = 0

    def put(self, segment: _Segment) -> None:
        """Send one segment; it arrives after all earlier ones."""
        verdict = self._judge()
        size = len(segment.content) if isinstance(segment, _Data) else 0
        due = trio.current_time() + (
            self._fabric.journey(self._source, self._target, verdict)
            + self._fabric.retransmissions(verdict)
            + self._fabric.queueing(self._source, self._target, verdict, size)
        )
        if self._queue:
            due = max(due, self._queue[-1][0])
        self.bytes_in_flight += size
        self._queue.append((due, segment))
        if len(self._queue) == 1:
            self._fabric.post.at(due, self._arrive)

    def resume(self) -> None:
        """A fault was lifted: the sender's next retransmission may come through."""
        self._fabric.post.at(trio.current_time() + RETRANSMIT_AFTER, self._arrive)

    def _judge(self) -> Verdict:
        return self._fabric.judge(self._source, self._target, PacketKind.SEGMENT, connection=self._connection)

    def _arrive(self) -> None:
        if self._judge().cut:
            self._fabric.hold(self)
            return
        _, segment = self._queue.popleft()
        content = segment.content if isinstance(segment, _Data) else b""
        self.bytes_in_flight -= len(content)
        what = f"{type(segment).__name__.strip('_').lower()} {self._source}>{self._target}"
        self._fabric.trace.record(trio.current_time(), what, content)
        self._destination.arrived(segment)
        if self._queue:
            self._fabric.post.at(max(self._queue[0][0], trio.current_time()), self._arrive)


class SimulatedStream(trio.abc.HalfCloseableStream):
    """One end of a simulated connection.

    At most ``capacity`` bytes are under way or unread in each direction; beyond that `send_all` waits for the reader.
    """

    def __init__(self, fabric: Fabric, life: Life, *, local: Address, capacity: int, fragmentation: float) -> None:
        """An end that `connect_streams` is about to join to another."""
        self.fabric = fabric
        self._life = life
        self.local = local
        self._capacity = capacity
        self._fragmentation = fragmentation
        self._peer: SimulatedStream
        self._outgoing: _Pipe
        self._unread = bytearray()
        self._readable = trio.lowlevel.ParkingLot()
        self._writable = trio.lowlevel.ParkingLot()
        self._sending = self._receiving = False
        self._closed = self._broken = self._ended = self._end_sent = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "reset" if self._broken else "open"
        return f"<SimulatedStream {self.local}>{self._peer.local} {state}>"

    @property
    def local_host(self) -> str:
        """The simulated host this end lives on."""
        return self._life.host

    def join(self, peer: SimulatedStream, *, connection: int) -> None:
        """Become the other end of ``peer`` in the connection of that number."""
        self._peer = peer
        self._outgoing = _Pipe(self.fabric, self._life.host, peer.local_host, peer, connection=connection)
        self._life.opened(self)

    # ------------------------------------------------------------------------------------------------ sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; wait while the buffers on the way are full."""
        content = bytes(data)
        self._start_sending()
        try:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            while content:
                sent = self._send_some(content)
                content = content[sent:]
                if content:
                    await self._writable.park()
                    self._check_sendable()
        finally:
            self._sending = False

    def send_now(self, data: bytes) -> int:
        """Send what there is room for now, as a write to a socket does; how many bytes that were: none if it is broken.

        For whoever has the sending side to itself, see `swimring.net.SendsNow`.
        """
        if self._sending or self._closed or self._end_sent or self._broken:
            return 0
        return self._send_some(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room on the way."""
        self._start_sending()
        try:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            while self._room() <= 0:
                await self._writable.park()
                self._check_sendable()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """Say that no more data will follow; receiving goes on."""
        self._start_sending()
        try:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError("this stream was closed")
            self._put_end()
        finally:
            self._sending = False

    def _start_sending(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True

    def _check_sendable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._end_sent:
            raise trio.ClosedResourceError("nothing can be sent after send_eof")
        if self._broken:
            raise trio.BrokenResourceError("connection reset")

    def _room(self) -> int:
        return self._capacity - self._outgoing.bytes_in_flight - self._peer.unread_bytes

    @property
    def unread_bytes(self) -> int:
        """How much has arrived here and waits to be received."""
        return len(self._unread)

    def peer_has_read(self) -> None:
        """There is room again."""
        self._writable.unpark_all()

    def _send_some(self, content: bytes) -> int:
        """Send what there is room for, in one segment or, by the dice, in two; return how much that was."""
        content = content[: max(0, self._room())]
        if not content:
            return 0
        rng = self.fabric.rng
        split = rng.randrange(len(content)) if rng.random() < self._fragmentation else 0
        if split:
            self._outgoing.put(_Data(content[:split]))
        self._outgoing.put(_Data(content[split:]))
        self._life.counters.stream_bytes_sent += len(content)
        return len(content)

    def _put_end(self) -> None:
        if not self._end_sent and not self._broken:
            self._end_sent = True
            self._outgoing.put(_End())

    # ---------------------------------------------------------------------------------------------- receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for data; ``b""`` once the peer has ended its side."""
        most = _LARGEST_READ if max_bytes is None else operator.index(max_bytes)
        if most < 1:
            raise ValueError("max_bytes must be >= 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._receiving = True
        try:
            if self._has_news():
                await trio.lowlevel.checkpoint()
            while not self._has_news():
                await self._readable.park()
        finally:
            self._receiving = False
        return self._take(most)

    def _has_news(self) -> bool:
        return bool(self._unread) or self._closed or self._broken or self._ended

    def _take(self, most: int) -> bytes:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._unread:
            content = bytes(self._unread[:most])
            del self._unread[:most]
            self._life.counters.stream_bytes_received += len(content)
            self._peer.peer_has_read()
            return content
        if self._broken:
            raise trio.BrokenResourceError("connection reset")
        return b""

    def arrived(self, segment: _Segment) -> None:
        """The network delivers."""
        match segment:
            case _Reset():
                self._broken = True
                self._life.closed(self)
            case _Data() if self._closed or not self._life.alive:
                self._outgoing.put(_Reset())  # what TCP answers to data for a connection it does not know
            case _Data(content) if not self._broken:
                self._unread += content
            case _End():
                self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._readable.unpark_all()
        self._writable.unpark_all()

    # ------------------------------------------------------------------------------------------------ closing

    async def aclose(self) -> None:
        """Close; what was sent still arrives, unless data is left unread: then the peer sees a reset, as with TCP."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """`aclose` without its checkpoint."""
        if self._closed:
            return
        self._closed = True
        self._life.closed(self)
        if self._unread:
            self._unread.clear()
            self._outgoing.put(_Reset())
        else:
            self._put_end()
        self._wake()

    def die(self, *, silently: bool) -> None:
        """The process is gone; its kernel resets the connection, unless the machine is gone as well."""
        if not self._closed:
            self._closed = True
            self._unread.clear()
            if not silently:
                self._outgoing.put(_Reset())
            self._wake()


def connect_streams(one: SimulatedStream, other: SimulatedStream) -> None:
    """Make two ends one connection."""
    number = one.fabric.number_connection()
    one.join(other, connection=number)
    other.join(one, connection=number)
