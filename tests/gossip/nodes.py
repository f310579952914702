"""Gossipers on the simulated network, each with the listener that a node would have."""

from __future__ import annotations

import errno
import functools
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec

import trio

from swimring.gossip import Gossiper, open_gossiper
from swimring.identity import Address, NodeId
from swimring.instrument import Instrument, Instruments
from swimring.net import Datagrams
from swimring.security import Keyring, Sealing
from swimring.swim import Member, Metadata, Profile, Status
from swimring.testing import PASS, Packet, PacketKind, SimulatedNetwork, Verdict, open_simulated_network, run_simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence

    from swimring.net import Binding

P = ParamSpec("P")
PORT = 7979


def simulated(scenario: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Make a test of an async scenario: in virtual time, by the seed that is its ``seed`` argument, or 1."""

    @functools.wraps(scenario)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        seed = kwargs.get("seed", 1)
        assert isinstance(seed, int)
        run_simulation(functools.partial(scenario, *args, **kwargs), seed=seed)

    return test


@dataclass
class Recorder(Instrument):
    """What a node's instruments heard."""

    refused: list[tuple[str, str]] = field(default_factory=list)
    failed_duties: list[tuple[str, BaseException]] = field(default_factory=list)
    changes: list[tuple[float, str, str]] = field(default_factory=list)
    probes: list[tuple[str, float | None]] = field(default_factory=list)

    def bytes_refused(self, port: str, reason: str) -> None:
        self.refused.append((port, reason))

    def duty_failed(self, duty: str, error: BaseException) -> None:
        self.failed_duties.append((duty, error))

    def member_changed(self, name: str, status: str) -> None:
        self.changes.append((trio.current_time(), name, status))

    def probe_finished(self, name: str, rtt: float | None) -> None:
        self.probes.append((name, rtt))

    def statuses(self, name: str) -> list[str]:
        return [status for _, changed, status in self.changes if changed == name]


@dataclass
class GossipNode:
    gossiper: Gossiper
    binding: Binding
    recorder: Recorder
    scope: trio.CancelScope

    @property
    def name(self) -> str:
        return self.gossiper.me.name

    @property
    def address(self) -> Address:
        return Address(self.binding.address.host, self.binding.address.port)

    def sees(self, status: Status = Status.ALIVE) -> set[str]:
        return {member.name for member in self.gossiper.members if member.status is status}

    async def wait(self, condition: Callable[[], bool]) -> float:
        """Wait for a condition on the members; the time when it is met."""
        async with self.gossiper.events() as events:
            while not condition():
                await anext(events)
        return trio.current_time()

    async def wait_sees(self, names: Iterable[str], status: Status = Status.ALIVE) -> float:
        """Wait until exactly ``names`` have that status here; the time when they do."""
        expected = set(names)
        return await self.wait(lambda: self.sees(status) == expected)


def record_of(node: GossipNode, name: str) -> Member:
    member = node.gossiper.member(name)
    assert member is not None
    return member


class Rule:
    """A fault that concerns packets of one kind between two hosts, both ways."""

    def __init__(self, kind: PacketKind, one: str, other: Collection[str], verdict: Verdict) -> None:
        self._kind = kind
        self._one = one
        self._others = other
        self._verdict = verdict

    def judge(self, packet: Packet) -> Verdict:
        between = (packet.source == self._one and packet.target in self._others) or (
            packet.target == self._one and packet.source in self._others
        )
        return self._verdict if between and packet.kind is self._kind else PASS


class Tap(Datagrams):
    """A socket that a wire-tapper listens to: it keeps what is sent, and to whom."""

    def __init__(self, datagrams: Datagrams, tapped: list[tuple[bytes, Address]], is_down: Callable[[], bool]) -> None:
        self._datagrams = datagrams
        self._tapped = tapped
        self._is_down = is_down

    async def send(self, payload: bytes, to: Address) -> None:
        if self._is_down():
            raise OSError(errno.ENETUNREACH, "the interface is down")
        self._tapped.append((payload, to))
        await self._datagrams.send(payload, to)

    async def receive(self) -> list[tuple[bytes, Address]]:
        return await self._datagrams.receive()

    def close(self) -> None:
        self._datagrams.close()


class Cluster:
    """Starts and ends nodes; each on the simulated host of its own name."""

    def __init__(self, network: SimulatedNetwork, nursery: trio.Nursery) -> None:
        self.network = network
        self._nursery = nursery
        self.tapped: list[tuple[bytes, Address]] = []
        self.interfaces_down: set[str] = set()
        """Hosts whose datagrams cannot even be sent."""

    async def start(
        self,
        name: str,
        *,
        cluster: str = "test",
        generation: int = 1,
        join: Sequence[str] = (),
        seeds: Sequence[str] = (),
        profile: Profile | None = None,
        metadata: Metadata | None = None,
        host: str = "",
        keyring: Keyring | None = None,
        sealing: Sealing = Sealing.REQUIRE,
    ) -> GossipNode:
        run = functools.partial(
            self._run,
            me=NodeId(name, generation),
            cluster=cluster,
            seeds=[Address(seed, PORT) for seed in seeds],
            profile=profile or Profile.lan(),
            metadata=metadata or Metadata(services=("kv",)),
            host=host or name,
            keyring=keyring,
            sealing=sealing,
        )
        started: GossipNode = await self._nursery.start(run)
        if join:
            await started.gossiper.join([Address(host, PORT) for host in join])
        return started

    async def start_all(self, count: int, *, profile: Profile | None = None) -> list[GossipNode]:
        """``count`` nodes that all know each other."""
        nodes = [await self.start(f"n{number}", profile=profile) for number in range(count)]
        async with trio.open_nursery() as nursery:
            for node in nodes[1:]:
                nursery.start_soon(node.gossiper.join, [nodes[0].address])
        await self.settle(nodes)
        return nodes

    async def settle(self, nodes: Sequence[GossipNode]) -> float:
        """Wait until these see each other, and only each other, alive; the time when they do."""
        names = {node.name for node in nodes}
        for node in nodes:
            await node.wait_sees(names)
        return trio.current_time()

    async def wait_status(self, nodes: Sequence[GossipNode], names: Iterable[str], status: Status) -> float:
        """Wait until all ``nodes`` believe ``status`` of ``names``, and of nobody else; the time when they do."""
        expected = set(names)
        for node in nodes:
            await node.wait_sees(expected, status)
        return trio.current_time()

    def crash(self, node: GossipNode) -> None:
        """Kill the process: its machine refuses connections from now on."""
        node.scope.cancel()
        self.network.crash(node.address.host)

    def lose(self, node: GossipNode) -> None:
        """Lose the machine: nothing answers any more."""
        node.scope.cancel()
        self.network.freeze(node.address.host)

    async def _run(
        self,
        *,
        me: NodeId,
        cluster: str,
        seeds: Sequence[Address],
        profile: Profile,
        metadata: Metadata,
        host: str,
        keyring: Keyring | None,
        sealing: Sealing,
        task_status: trio.TaskStatus[GossipNode],
    ) -> None:
        network = self.network.at(host)
        binding = await network.bind(Address(host, PORT))
        recorder = Recorder()
        with trio.CancelScope() as scope:
            async with (
                open_gossiper(
                    cluster=cluster,
                    me=me,
                    address=binding.address,
                    metadata=metadata,
                    datagrams=Tap(binding.datagrams, self.tapped, lambda: host in self.interfaces_down),
                    network=network,
                    host=self.network.host(host),
                    profile=profile,
                    instruments=Instruments([recorder]),
                    seeds=seeds,
                    keyring=keyring,
                    sealing=sealing,
                ) as gossiper,
                trio.open_nursery() as nursery,
            ):
                task_status.started(GossipNode(gossiper, binding, recorder, scope))
                while True:
                    stream, remote = await binding.listener.accept()
                    nursery.start_soon(gossiper.serve_stream, stream, remote, b"")
        binding.close()


@asynccontextmanager
async def open_cluster() -> AsyncIterator[Cluster]:
    """A simulated network and nobody on it yet; all nodes end with the block."""
    async with open_simulated_network() as network, trio.open_nursery() as nursery:
        yield Cluster(network, nursery)
        nursery.cancel_scope.cancel()
