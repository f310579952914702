"""What can be done to a simulated cluster: each fault is a `with` block (or an `async with`), named in its history.

Where a fault takes ``nodes``, it concerns what they send and receive; without them it concerns everybody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, TypeAlias

import trio

from .disk import DiskFault, Disks, DiskTrouble, DiskVerdict
from .faults import Fault, Latency, chance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from .backends import Nodes
    from .history import History
    from .host import Clock
    from .machine import SimNode
    from .network import SimulatedNetwork

SimNodes: TypeAlias = "SimNode | Iterable[SimNode]"
"""One node, or several, of a simulated cluster."""


class FaultBlock(AbstractContextManager[None], AbstractAsyncContextManager[None]):
    """A fault that is in force within the block, be it `with` or `async with`."""

    def __init__(self, fault: AbstractContextManager[None]) -> None:
        """Not in force yet."""
        self._fault = fault

    def __enter__(self) -> None:
        """From now on."""
        self._fault.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lifted."""
        self._fault.__exit__(kind, error, trace)

    async def __aenter__(self) -> None:
        """From now on."""
        await trio.lowlevel.checkpoint()
        self._fault.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lifted."""
        self._fault.__exit__(kind, error, trace)
        await trio.lowlevel.checkpoint()


class Faults:
    """The faults of a cluster; `SimCluster` is one."""

    network: SimulatedNetwork
    disks: Disks
    history: History

    def inject(self, fault: Fault) -> FaultBlock:
        """Any fault: see `swimring.testing.Fault`."""
        return self._under(self.network.inject(fault), repr(fault))

    def inject_disk(self, fault: DiskFault) -> FaultBlock:
        """Any fault of disks: see `swimring.testing.DiskFault`."""
        return self._under(self.disks.inject(fault), repr(fault))

    # -------------------------------------------------------------------------------------------------- partitions

    def partition(self, one: Nodes, other: Nodes) -> FaultBlock:
        """Nothing passes between the two groups; others reach both."""
        a, b = names_of(one), names_of(other)
        return self._under(self.network.partition(a, b), f"partition {_listed(a)} | {_listed(b)}")

    def isolate(self, nodes: Nodes) -> FaultBlock:
        """Nothing passes between ``nodes`` and all others."""
        names = names_of(nodes)
        return self._under(self.network.isolate(names), f"isolate {_listed(names)}")

    def one_way(self, source: Nodes, target: Nodes) -> FaultBlock:
        """Nothing passes from ``source`` to ``target``; the other direction works."""
        a, b = names_of(source), names_of(target)
        return self._under(self.network.one_way(a, b), f"nothing passes from {_listed(a)} to {_listed(b)}")

    @contextlib.asynccontextmanager
    async def flapping(self, one: Nodes, other: Nodes, *, interval: float) -> AsyncIterator[None]:
        """A partition that comes and goes: ``interval`` seconds cut, as many whole, and so on."""
        a, b = names_of(one), names_of(other)

        async def flap() -> None:
            while True:
                with self.network.partition(a, b):
                    await trio.sleep(interval)
                await trio.sleep(interval)

        text = f"partition {_listed(a)} | {_listed(b)} that flaps every {interval:g} s"
        with self.history.during(text):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flap)
                yield
                nursery.cancel_scope.cancel()

    # ------------------------------------------------------------------------------------------------- poor links

    def loss(self, probability: float, nodes: Nodes | None = None) -> FaultBlock:
        """Datagrams are lost with this probability, segments and handshakes late."""
        hosts = _hosts(nodes)
        return self._under(self.network.loss(probability, hosts), f"loss {probability:g}", hosts)

    def duplication(self, probability: float, nodes: Nodes | None = None) -> FaultBlock:
        """Datagrams arrive twice with this probability."""
        hosts = _hosts(nodes)
        return self._under(self.network.duplication(probability, hosts), f"duplication {probability:g}", hosts)

    def reordering(self, probability: float, nodes: Nodes | None = None) -> FaultBlock:
        """Datagrams take up to 50 ms more with this probability, and are overtaken."""
        hosts = _hosts(nodes)
        return self._under(self.network.reordering(probability, hosts), f"reordering {probability:g}", hosts)

    def corruption(self, probability: float, nodes: Nodes | None = None) -> FaultBlock:
        """A bit of a datagram flips with this probability; segments are sent again, since checksums catch it."""
        hosts = _hosts(nodes)
        return self._under(self.network.corruption(probability, hosts), f"corruption {probability:g}", hosts)

    def latency(self, low: float, high: float, nodes: Nodes | None = None, *, tail: float = 0.0) -> FaultBlock:
        """Packets travel ``low`` to ``high`` seconds, and an exponentially distributed time of mean ``tail`` more."""
        text = f"latency {low:g} to {high:g} s" + (f" and {tail:g} s on average" if tail else "")
        hosts = _hosts(nodes)
        return self._under(self.network.latency(low, high, hosts, tail=tail), text, hosts)

    def bandwidth(self, bytes_per_second: float, nodes: Nodes | None = None) -> FaultBlock:
        """Each direction between two nodes carries no more than that."""
        text = f"bandwidth {bytes_per_second:g} B/s"
        hosts = _hosts(nodes)
        return self._under(self.network.bandwidth(bytes_per_second, hosts), text, hosts)

    # ------------------------------------------------------------------------------------------------- connections

    def refuse(self, nodes: Nodes) -> FaultBlock:
        """``nodes`` refuse new connections; existing ones and datagrams go on."""
        hosts = names_of(nodes)
        return self._under(self.network.refuse(hosts), "connections refused", hosts)

    def half_open(self, one: Nodes, other: Nodes) -> FaultBlock:
        """Connections that are open between them carry nothing any more, and nobody is told; new ones work."""
        a, b = names_of(one), names_of(other)
        return self._under(self.network.half_open(a, b), f"half-open connections {_listed(a)} | {_listed(b)}")

    # ------------------------------------------------------------------------------------------------------ clocks

    def clock_skew(self, seconds: float, nodes: SimNodes) -> FaultBlock:
        """The wall clocks of ``nodes`` are that far ahead of what they showed, or behind: they jump, and jump back."""
        chosen = _each(nodes)
        clocks = [node.clock for node in chosen]
        return self._under(_skewed(clocks, seconds), f"wall clock {seconds:+g} s", names_of(chosen))

    def clock_drift(self, rate: float, nodes: SimNodes) -> FaultBlock:
        """The boot clocks of ``nodes`` gain ``rate`` seconds a second, or lose them: 0.001 gains 1 ms a second."""
        chosen = _each(nodes)
        clocks = [node.clock for node in chosen]
        return self._under(_drifting(clocks, rate), f"boot clock {rate:+g} s/s", names_of(chosen))

    # ------------------------------------------------------------------------------------------------------- disks

    def full_disk(self, nodes: Nodes | None = None) -> FaultBlock:
        """Nothing can be written or appended: `swimring.StoreFull`."""
        return self._disk(DiskVerdict(full=True), "disk full", nodes)

    def failing_disk(self, probability: float, nodes: Nodes | None = None) -> FaultBlock:
        """Operations fail with this probability: `swimring.StoreError`."""
        verdict = DiskVerdict(failing=chance(probability, "failing_disk"))
        return self._disk(verdict, f"disk fails {probability:g}", nodes)

    def slow_disk(self, low: float, high: float, nodes: Nodes | None = None) -> FaultBlock:
        """Operations take ``low`` to ``high`` seconds."""
        return self._disk(DiskVerdict(latency=Latency(low=low, high=high)), f"disk takes {low:g} to {high:g} s", nodes)

    def torn_writes(self, nodes: Nodes | None = None) -> FaultBlock:
        """What is appended in a crash, or was not synced when the machine is lost, survives in part, or as zeros."""
        return self._disk(DiskVerdict(torn=True), "torn writes", nodes)

    def forgetful_disk(self, nodes: Nodes | None = None) -> FaultBlock:
        """A killed process loses what it had not synced, as if its machine had been lost."""
        return self._disk(DiskVerdict(forgets=True), "what is not synced is lost in a crash", nodes)

    def _disk(self, verdict: DiskVerdict, text: str, nodes: Nodes | None) -> FaultBlock:
        hosts = _hosts(nodes)
        trouble = DiskTrouble(verdict, None if hosts is None else frozenset(hosts))
        return self._under(self.disks.inject(trouble), text, hosts)

    def _under(self, fault: AbstractContextManager[None], text: str, hosts: list[str] | None = None) -> FaultBlock:
        where = "" if hosts is None else f" at {_listed(hosts)}"
        return FaultBlock(self._both(fault, text + where))

    @contextlib.contextmanager
    def _both(self, fault: AbstractContextManager[None], text: str) -> Iterator[None]:
        with self.history.during(text), fault:
            yield


def names_of(nodes: Nodes) -> list[str]:
    """The names of one node, or of several."""
    return [node.name for node in nodes] if isinstance(nodes, Iterable) else [nodes.name]


def _each(nodes: SimNodes) -> list[SimNode]:
    return list(nodes) if isinstance(nodes, Iterable) else [nodes]


@contextlib.contextmanager
def _skewed(clocks: list[Clock], seconds: float) -> Iterator[None]:
    for clock in clocks:
        clock.skew += seconds
    try:
        yield
    finally:
        for clock in clocks:
            clock.skew -= seconds


@contextlib.contextmanager
def _drifting(clocks: list[Clock], rate: float) -> Iterator[None]:
    for clock in clocks:
        clock.drift += rate
    try:
        yield
    finally:
        for clock in clocks:
            clock.drift -= rate


def _hosts(nodes: Nodes | None) -> list[str] | None:
    return None if nodes is None else names_of(nodes)


def _listed(names: list[str]) -> str:
    return " ".join(names) or "nobody"
