"""What can be done to a simulated cluster: each fault is a `with` block, named in its history.

Where a fault takes ``nodes``, it concerns what they send and receive; without them it concerns everybody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import trio

from .disk import DiskFault, Disks, DiskTrouble, DiskVerdict
from .faults import Fault, Latency, chance
from .machine import SimNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractContextManager

    from .history import History
    from .network import SimulatedNetwork

SimNodes: TypeAlias = SimNode | Iterable[SimNode]
"""One node, or several."""


class Faults:
    """The faults of a cluster; `SimCluster` is one."""

    network: SimulatedNetwork
    disks: Disks
    history: History

    def inject(self, fault: Fault) -> AbstractContextManager[None]:
        """Any fault: see `swimring.testing.Fault`."""
        return self._under(self.network.inject(fault), repr(fault))

    def inject_disk(self, fault: DiskFault) -> AbstractContextManager[None]:
        """Any fault of disks: see `swimring.testing.DiskFault`."""
        return self._under(self.disks.inject(fault), repr(fault))

    # -------------------------------------------------------------------------------------------------- partitions

    def partition(self, one: SimNodes, other: SimNodes) -> AbstractContextManager[None]:
        """Nothing passes between the two groups; others reach both."""
        a, b = names_of(one), names_of(other)
        return self._under(self.network.partition(a, b), f"partition {_listed(a)} | {_listed(b)}")

    def isolate(self, nodes: SimNodes) -> AbstractContextManager[None]:
        """Nothing passes between ``nodes`` and all others."""
        names = names_of(nodes)
        return self._under(self.network.isolate(names), f"isolate {_listed(names)}")

    def one_way(self, source: SimNodes, target: SimNodes) -> AbstractContextManager[None]:
        """Nothing passes from ``source`` to ``target``; the other direction works."""
        a, b = names_of(source), names_of(target)
        return self._under(self.network.one_way(a, b), f"nothing passes from {_listed(a)} to {_listed(b)}")

    @contextlib.asynccontextmanager
    async def flapping(self, one: SimNodes, other: SimNodes, *, interval: float) -> AsyncIterator[None]:
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

    def loss(self, probability: float, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """Datagrams are lost with this probability, segments and handshakes late."""
        return self._under(self.network.loss(probability, _hosts(nodes)), f"loss {probability:g}", nodes)

    def duplication(self, probability: float, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """Datagrams arrive twice with this probability."""
        return self._under(self.network.duplication(probability, _hosts(nodes)), f"duplication {probability:g}", nodes)

    def reordering(self, probability: float, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """Datagrams take up to 50 ms more with this probability, and are overtaken."""
        return self._under(self.network.reordering(probability, _hosts(nodes)), f"reordering {probability:g}", nodes)

    def corruption(self, probability: float, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """A bit of a datagram flips with this probability; segments are sent again, since checksums catch it."""
        return self._under(self.network.corruption(probability, _hosts(nodes)), f"corruption {probability:g}", nodes)

    def latency(self, low: float, high: float, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """Packets travel ``low`` to ``high`` seconds."""
        return self._under(self.network.latency(low, high, _hosts(nodes)), f"latency {low:g} to {high:g} s", nodes)

    def bandwidth(self, bytes_per_second: float, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """Each direction between two nodes carries no more than that."""
        text = f"bandwidth {bytes_per_second:g} B/s"
        return self._under(self.network.bandwidth(bytes_per_second, _hosts(nodes)), text, nodes)

    # ------------------------------------------------------------------------------------------------- connections

    def refuse(self, nodes: SimNodes) -> AbstractContextManager[None]:
        """``nodes`` refuse new connections; existing ones and datagrams go on."""
        return self._under(self.network.refuse(names_of(nodes)), "connections refused", nodes)

    def half_open(self, one: SimNodes, other: SimNodes) -> AbstractContextManager[None]:
        """Connections that are open between them carry nothing any more, and nobody is told; new ones work."""
        a, b = names_of(one), names_of(other)
        return self._under(self.network.half_open(a, b), f"half-open connections {_listed(a)} | {_listed(b)}")

    # ------------------------------------------------------------------------------------------------------ clocks

    @contextlib.contextmanager
    def clock_skew(self, seconds: float, nodes: SimNodes) -> Iterator[None]:
        """The wall clocks of ``nodes`` are that far ahead of what they showed, or behind: they jump, and jump back."""
        each = _each(nodes)
        with self.history.during(f"wall clock {seconds:+g} s at {_listed(names_of(each))}"):
            for node in each:
                node.clock.skew += seconds
            try:
                yield
            finally:
                for node in each:
                    node.clock.skew -= seconds

    @contextlib.contextmanager
    def clock_drift(self, rate: float, nodes: SimNodes) -> Iterator[None]:
        """The boot clocks of ``nodes`` gain ``rate`` seconds a second, or lose them: 0.001 gains 1 ms a second."""
        each = _each(nodes)
        with self.history.during(f"boot clock {rate:+g} s/s at {_listed(names_of(each))}"):
            for node in each:
                node.clock.drift += rate
            try:
                yield
            finally:
                for node in each:
                    node.clock.drift -= rate

    # ------------------------------------------------------------------------------------------------------- disks

    def full_disk(self, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """Nothing can be written or appended: `swimring.StoreFull`."""
        return self._disk(DiskVerdict(full=True), "disk full", nodes)

    def failing_disk(self, probability: float, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """Operations fail with this probability: `swimring.StoreError`."""
        verdict = DiskVerdict(failing=chance(probability, "failing_disk"))
        return self._disk(verdict, f"disk fails {probability:g}", nodes)

    def slow_disk(self, low: float, high: float, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """Operations take ``low`` to ``high`` seconds."""
        return self._disk(DiskVerdict(latency=Latency(low=low, high=high)), f"disk takes {low:g} to {high:g} s", nodes)

    def torn_writes(self, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """What is appended in a crash, or was not synced when the machine is lost, survives in part, or as zeros."""
        return self._disk(DiskVerdict(torn=True), "torn writes", nodes)

    def forgetful_disk(self, nodes: SimNodes | None = None) -> AbstractContextManager[None]:
        """A killed process loses what it had not synced, as if its machine had been lost."""
        return self._disk(DiskVerdict(forgets=True), "what is not synced is lost in a crash", nodes)

    def _disk(self, verdict: DiskVerdict, text: str, nodes: SimNodes | None) -> AbstractContextManager[None]:
        hosts = None if nodes is None else frozenset(names_of(nodes))
        return self._under(self.disks.inject(DiskTrouble(verdict, hosts)), text, nodes)

    @contextlib.contextmanager
    def _under(self, fault: AbstractContextManager[None], text: str, nodes: SimNodes | None = None) -> Iterator[None]:
        where = "" if nodes is None else f" at {_listed(names_of(nodes))}"
        with self.history.during(text + where), fault:
            yield


def names_of(nodes: SimNodes) -> list[str]:
    """The names of one node, or of several."""
    return [node.name for node in _each(nodes)]


def _each(nodes: SimNodes) -> list[SimNode]:
    return [nodes] if isinstance(nodes, SimNode) else list(nodes)


def _hosts(nodes: SimNodes | None) -> list[str] | None:
    return None if nodes is None else names_of(nodes)


def _listed(names: list[str]) -> str:
    return " ".join(names) or "nobody"
