"""Simulated datagram sockets and listeners: bounded queues, filled by the network, emptied by one task."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio

from swimring.identity import Address
from swimring.net import Datagrams, StreamListener

if TYPE_CHECKING:
    from .fabric import Life
    from .streams import SimulatedStream

BATCH: Final = 64
LARGEST_DATAGRAM: Final = 65_507

SendDatagram = Callable[[bytes, Address], None]


class SimulatedDatagrams(Datagrams):
    """A datagram socket with room for ``room`` datagrams nobody has received yet; more are lost, as in a kernel."""

    def __init__(
        self, life: Life, *, address: Address, room: int, send: SendDatagram, on_close: Callable[[], None]
    ) -> None:
        """Open; ``send`` hands a datagram to the network."""
        self._life = life
        self._address = address
        self._room = room
        self._send = send
        self._on_close = on_close
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._arrival = trio.lowlevel.ParkingLot()
        self._receiving = False
        self._closed = False
        life.opened(self)

    def __repr__(self) -> str:
        return f"<SimulatedDatagrams {self._address} {'closed' if self._closed else 'open'}>"

    async def send(self, payload: bytes, to: Address) -> None:
        """Send; that a datagram is lost or nobody is there goes unnoticed."""
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("this socket was closed")
        if len(payload) > LARGEST_DATAGRAM:
            raise OSError(errno.EMSGSIZE, f"a datagram of {len(payload)} bytes is too long")
        self._life.counters.datagrams_sent += 1
        self._life.counters.datagram_bytes_sent += len(payload)
        self._send(payload, to)

    async def receive(self) -> list[tuple[bytes, Address]]:
        """Wait until something is there, then take all of it, up to 64."""
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this socket")
        self._receiving = True
        try:
            parked = False
            while not self._queue and not self._closed:
                await self._arrival.park()
                parked = True
            if self._closed or not parked:
                await trio.lowlevel.checkpoint()  # who was cancelled before the socket closed ends by that
        finally:
            self._receiving = False
        if self._closed:
            raise trio.ClosedResourceError("this socket was closed")
        return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]

    def arrived(self, payload: bytes, source: Address) -> bool:
        """The network delivers; False if the queue is full and the datagram is lost."""
        if len(self._queue) >= self._room:
            return False
        self._life.counters.datagrams_received += 1
        self._queue.append((payload, source))
        self._arrival.unpark_all()
        return True

    def close(self) -> None:
        """Close; a pending `receive` raises `trio.ClosedResourceError`."""
        if not self._closed:
            self._closed = True
            self._queue.clear()
            self._life.closed(self)
            self._on_close()
            self._arrival.unpark_all()

    def die(self, *, silently: bool) -> None:  # noqa: ARG002 - a datagram socket has nobody to tell
        """The host is gone."""
        self.close()


class SimulatedListener(StreamListener):
    """A listener with a backlog of ``room`` connections; callers beyond it try again, as with TCP."""

    def __init__(self, life: Life, *, address: Address, room: int, on_close: Callable[[], None]) -> None:
        """Listen."""
        self._life = life
        self._address = address
        self._room = room
        self._on_close = on_close
        self._backlog: deque[tuple[SimulatedStream, Address]] = deque()
        self._arrival = trio.lowlevel.ParkingLot()
        self._closed = False
        life.opened(self)

    def __repr__(self) -> str:
        return f"<SimulatedListener {self._address} {'closed' if self._closed else 'open'}>"

    @property
    def life(self) -> Life:
        """The life that listens."""
        return self._life

    @property
    def full(self) -> bool:
        """Whether the backlog takes no more."""
        return len(self._backlog) >= self._room

    async def accept(self) -> tuple[SimulatedStream, Address]:
        """Wait for a connection."""
        await trio.lowlevel.checkpoint()
        while not self._backlog and not self._closed:
            await self._arrival.park()
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed")
        return self._backlog.popleft()

    def arrived(self, stream: SimulatedStream, source: Address) -> None:
        """The network delivers a connection."""
        self._backlog.append((stream, source))
        self._arrival.unpark()

    def close(self) -> None:
        """Stop listening; connections that were not accepted are reset."""
        self._end(silently=False)

    def die(self, *, silently: bool) -> None:
        """The host is gone."""
        self._end(silently=silently)

    def _end(self, *, silently: bool) -> None:
        if not self._closed:
            self._closed = True
            self._life.closed(self)
            self._on_close()
            for stream, _ in self._backlog:
                stream.die(silently=silently)
                self._life.closed(stream)
            self._backlog.clear()
            self._arrival.unpark_all()
