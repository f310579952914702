"""What the simulated sockets share: the dice, the faults in force, the post, the counters, the trace."""

from __future__ import annotations

import contextvars
import functools
import heapq
import itertools
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import trio

from .clock import VirtualClock
from .faults import PASS, Fault, Latency, Packet, PacketKind, Verdict
from .trace import Trace

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from .clock import Alarm

RETRANSMIT_AFTER: Final = 0.2
"""Seconds until a lost or held segment or handshake is tried again; doubled for each further loss, as TCP does."""

_MOST_RETRANSMISSIONS: Final = 8
_LONGEST_DETOUR: Final = 0.05
_ROUTER_HOLDS: Final = 1.0
_WITHIN_A_HOST: Final = Latency(low=0.00002, high=0.00005)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatistics:
    """What one host sent and received since the simulation began, over all its lives."""

    datagrams_sent: int
    datagrams_received: int
    datagram_bytes_sent: int
    stream_bytes_sent: int
    stream_bytes_received: int
    connections_dialled: int


@dataclass(slots=True)
class Counters:
    """The running totals behind `HostStatistics`."""

    datagrams_sent: int = 0
    datagrams_received: int = 0
    datagram_bytes_sent: int = 0
    stream_bytes_sent: int = 0
    stream_bytes_received: int = 0
    connections_dialled: int = 0

    def snapshot(self) -> HostStatistics:
        """The totals now."""
        return HostStatistics(
            datagrams_sent=self.datagrams_sent,
            datagrams_received=self.datagrams_received,
            datagram_bytes_sent=self.datagram_bytes_sent,
            stream_bytes_sent=self.stream_bytes_sent,
            stream_bytes_received=self.stream_bytes_received,
            connections_dialled=self.connections_dialled,
        )


class Socket(Protocol):
    """What dies with its host."""

    def die(self, *, silently: bool) -> None:
        """Close; unless ``silently``, peers are told as the kernel of a killed process tells them."""
        ...


class Life:
    """One life of a host: what it opens is gone when it ends."""

    def __init__(self, host: str, number: int, counters: Counters) -> None:
        """Begin."""
        self.host = host
        self.number = number
        self.counters = counters
        self.alive = True
        self._sockets: dict[Socket, None] = {}  # in order of opening: a set would die in an order of its own

    def __repr__(self) -> str:
        return f"<Life {self.number} of {self.host}, {'running' if self.alive else 'over'}>"

    def opened(self, socket: Socket) -> None:
        """Remember ``socket``."""
        self._sockets[socket] = None

    def closed(self, socket: Socket) -> None:
        """Forget ``socket``."""
        self._sockets.pop(socket, None)

    def end(self, *, silently: bool) -> None:
        """Close everything this life opened."""
        self.alive = False
        for socket in list(self._sockets):
            socket.die(silently=silently)
        self._sockets.clear()


class Post:
    """Delivers at a time, from a heap that is ordered by time, then by order of posting.

    Each wake-up costs as much as several deliveries do: with a ``resolution``, times are rounded up to multiples of it.
    """

    def __init__(self, *, resolution: float) -> None:
        """Nothing is under way."""
        self._resolution = resolution
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._context = contextvars.copy_context()
        self._failure: Exception | None = None
        self._failed = trio.Event()
        self._nap = Nap()
        self._due: Alarm | Nap = self._nap

    def at(self, due: float, deliver: Callable[[], None]) -> None:
        """Call ``deliver`` at ``due`` (Trio's clock)."""
        if self._resolution:
            due = math.ceil(due / self._resolution) * self._resolution
        heapq.heappush(self._heap, (due, next(self._numbers), deliver))
        if due < self._due.due:
            self._due.due = due

    async def run(self) -> None:
        """Deliver for ever; raises what a delivery raised."""
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, VirtualClock):  # which delivers between the turns of the event loop, as that is cheaper
            alarm = self._due = clock.alarm(functools.partial(self._context.run, self._deliver))
            self._set()
            try:
                await self._failed.wait()
            finally:
                clock.forget(alarm)
        while self._failure is None:
            self._deliver()
            await self._nap.wait()
        raise self._failure

    def _deliver(self) -> None:
        heap, now = self._heap, trio.current_time()
        try:
            while heap and heap[0][0] <= now:
                heapq.heappop(heap)[2]()
        except Exception as error:  # noqa: BLE001 - a fault that is the user's: `run` raises it
            self._failure = error
            self._failed.set()
        self._set()

    def _set(self) -> None:
        if self._heap and self._failure is None:
            self._due.due = self._heap[0][0]


class Nap:
    """An `Alarm` for other clocks than a virtual one: a task that waits."""

    def __init__(self) -> None:
        """Not set."""
        self._scope = trio.CancelScope()

    @property
    def due(self) -> float:
        """When it ends."""
        return self._scope.deadline

    @due.setter
    def due(self, due: float) -> None:
        self._scope.deadline = due

    async def wait(self) -> None:
        """Wait until it ends."""
        with self._scope:
            await trio.sleep_forever()
        self._scope = trio.CancelScope()


class Held(Protocol):
    """What a cut stopped and waits for the end of a fault."""

    def resume(self) -> None:
        """A fault was lifted: try again."""
        ...


class Fabric:
    """The laws of one simulated network: verdicts, journeys, and who waits for a fault to be lifted."""

    def __init__(self, *, rng: random.Random, latency: Latency, resolution: float) -> None:
        """No faults yet."""
        self.rng = rng
        self.trace = Trace()
        self.post = Post(resolution=resolution)
        self.lifted = trio.Event()
        self.silent_hosts: set[str] = set()
        self._latency = latency
        self._connections = 0
        self._busy_until: dict[tuple[str, str], float] = {}
        self._faults: list[Fault] = []
        self._held: dict[Held, None] = {}

    @contextmanager
    def inject(self, fault: Fault) -> Iterator[None]:
        """``fault`` is in force within the block."""
        self._faults.append(fault)
        try:
            yield
        finally:
            for index, known in enumerate(self._faults):
                if known is fault:
                    del self._faults[index]
                    break
            self.release()

    def release(self) -> None:
        """Something was lifted: whatever was held tries again."""
        held, self._held = self._held, {}
        for one in held:
            one.resume()
        lifted, self.lifted = self.lifted, trio.Event()
        lifted.set()

    def hold(self, held: Held) -> None:
        """Call ``held.resume()`` when a fault is lifted."""
        self._held[held] = None

    def judge(self, source: str, target: str, kind: PacketKind, *, connection: int = 0) -> Verdict:
        """What all faults together say about a packet."""
        if source == target:
            return PASS
        verdict = Verdict(cut=True) if source in self.silent_hosts or target in self.silent_hosts else PASS
        if self._faults:
            packet = Packet(source=source, target=target, kind=kind, connection=connection)
            for fault in self._faults:
                said = fault.judge(packet)
                if said is not PASS:
                    verdict = verdict.and_also(said)
        return verdict

    @property
    def connections(self) -> int:
        """How many connections there have been; the number of the latest."""
        return self._connections

    def number_connection(self) -> int:
        """The number of a new connection."""
        self._connections += 1
        return self._connections

    def journey(self, source: str, target: str, verdict: Verdict) -> float:
        """Seconds that one transmission takes."""
        if source == target:
            return _WITHIN_A_HOST.draw(self.rng)
        journey = (verdict.latency or self._latency).draw(self.rng)
        if verdict.detour and self.rng.random() < verdict.detour:
            journey += self.rng.uniform(0, _LONGEST_DETOUR)
        return journey

    def queueing(self, source: str, target: str, verdict: Verdict, size: int) -> float:
        """Seconds until ``size`` bytes have left, behind all that leaves before them in the same direction."""
        if verdict.bandwidth == math.inf:
            return 0.0
        now = trio.current_time()
        left = max(now, self._busy_until.get((source, target), now)) + size / verdict.bandwidth
        self._busy_until[source, target] = left
        return left - now

    def datagram(self, payload: bytes, source: str, target: str, verdict: Verdict) -> tuple[float, bytes] | None:
        """When one copy of a datagram arrives, from now, and as what; None if it does not."""
        if verdict.bandwidth != math.inf:
            waiting = self._busy_until.get((source, target), 0.0) - trio.current_time()
            if waiting > _ROUTER_HOLDS:
                return None
        if verdict.corruption and payload and self.rng.random() < verdict.corruption:
            flipped = bytearray(payload)
            flipped[self.rng.randrange(len(flipped))] ^= 1 << self.rng.randrange(8)
            payload = bytes(flipped)
        return self.queueing(source, target, verdict, len(payload)) + self.journey(source, target, verdict), payload

    def retransmissions(self, verdict: Verdict) -> float:
        """Seconds that losses cost a segment or a handshake, which is sent again until it arrives."""
        lost = 0
        spoilt = 1 - (1 - verdict.loss) * (1 - verdict.corruption)
        while spoilt and lost < _MOST_RETRANSMISSIONS and self.rng.random() < spoilt:
            lost += 1
        return RETRANSMIT_AFTER * ((1 << lost) - 1)

    async def travel(self, source: str, target: str) -> Verdict:
        """Be a handshake packet: wait out cuts and losses, then the journey; return the verdict on arrival."""
        while True:
            verdict = self.judge(source, target, PacketKind.HANDSHAKE)
            if not verdict.cut:
                await trio.sleep(self.retransmissions(verdict) + self.journey(source, target, verdict))
                verdict = self.judge(source, target, PacketKind.HANDSHAKE)
                if not verdict.cut:
                    return verdict
            await self.lifted.wait()
            await trio.sleep(RETRANSMIT_AFTER)
