"""A network in memory, without delay, and nodes that gossip over it: under virtual time, deterministic."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from swimring.gossip import Gossiper, open_gossiper
from swimring.identity import Address, NodeId
from swimring.instrument import Instrument, Instruments
from swimring.net import Binding, Datagrams, Host, Network, StreamListener
from swimring.swim import Member, Metadata, Profile, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence


class MemoryHost(Host):
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def wall_ms(self) -> int:
        return round(trio.current_time() * 1000)

    def boot_time(self) -> float:
        return trio.current_time()

    def entropy(self, size: int) -> bytes:
        return self.rng.randbytes(size)


class MemoryDatagrams(Datagrams):
    def __init__(self, world: World, address: Address) -> None:
        self._world = world
        self.address = address
        self.put, self._queue = trio.open_memory_channel[tuple[bytes, Address]](10_000)

    async def send(self, payload: bytes, to: Address) -> None:
        await trio.lowlevel.checkpoint()
        target = self._world.bound.get(to)
        self._world.datagrams.append((self.address, to, payload))
        if target is not None and self._world.passes(self.address.host, to.host, datagram=True):
            target.datagrams.put.send_nowait((payload, self.address))

    async def receive(self) -> list[tuple[bytes, Address]]:
        return [await self._queue.receive()]

    def close(self) -> None:
        self._queue.close()


class MemoryListener(StreamListener):
    def __init__(self) -> None:
        self.put, self._queue = trio.open_memory_channel[tuple[trio.abc.Stream, Address]](10_000)

    async def accept(self) -> tuple[trio.abc.Stream, Address]:
        return await self._queue.receive()

    def close(self) -> None:
        self._queue.close()


class MemoryBinding:
    def __init__(self, world: World, address: Address) -> None:
        self.datagrams = MemoryDatagrams(world, address)
        self.listener = MemoryListener()


class World:
    """All hosts; ``rules`` decide what passes: (from, to, is datagram) -> bool."""

    def __init__(self) -> None:
        self.bound: dict[Address, MemoryBinding] = {}
        self.rules: list[Callable[[str, str, bool], bool]] = []
        self.datagrams: list[tuple[Address, Address, bytes]] = []
        self.silent: set[str] = set()

    def passes(self, source: str, target: str, *, datagram: bool) -> bool:
        alive = source not in self.silent and target not in self.silent
        return alive and all(rule(source, target, datagram) for rule in self.rules)

    @contextmanager
    def rule(self, rule: Callable[[str, str, bool], bool]) -> Iterator[None]:
        self.rules.append(rule)
        try:
            yield
        finally:
            self.rules.remove(rule)

    def at(self, host: str) -> MemoryNetwork:
        return MemoryNetwork(self, host)


class MemoryNetwork(Network):
    def __init__(self, world: World, host: str) -> None:
        self._world = world
        self._host = host

    async def bind(self, address: Address) -> Binding:
        await trio.lowlevel.checkpoint()
        binding = self._world.bound[address] = MemoryBinding(self._world, address)
        return Binding(address=address, datagrams=binding.datagrams, listener=binding.listener)

    async def connect(self, address: Address) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if not self._world.passes(self._host, address.host, datagram=False):
            await trio.sleep_forever()
        target = self._world.bound.get(address)
        if target is None:
            raise ConnectionRefusedError(f"nobody listens at {address}")
        near, far = trio.testing.memory_stream_pair()
        target.listener.put.send_nowait((far, Address(self._host, 50_000)))
        return near

    async def resolve(self, address: Address) -> list[Address]:
        await trio.lowlevel.checkpoint()
        return [address]


class Recorder(Instrument):
    def __init__(self) -> None:
        self.refused: list[tuple[str, str]] = []
        self.failed_duties: list[tuple[str, BaseException]] = []
        self.changes: list[tuple[float, str, str]] = []

    def bytes_refused(self, port: str, reason: str) -> None:
        self.refused.append((port, reason))

    def duty_failed(self, duty: str, error: BaseException) -> None:
        self.failed_duties.append((duty, error))

    def member_changed(self, name: str, status: str) -> None:
        self.changes.append((trio.current_time(), name, status))


class GossipNode:
    """A gossiper with the listener that a node would have."""

    def __init__(self, gossiper: Gossiper, binding: Binding, recorder: Recorder, scope: trio.CancelScope) -> None:
        self.gossiper = gossiper
        self.binding = binding
        self.recorder = recorder
        self.scope = scope

    @property
    def name(self) -> str:
        return self.gossiper.me.name

    @property
    def address(self) -> Address:
        return self.binding.address

    def sees(self, status: Status = Status.ALIVE) -> set[str]:
        return {member.name for member in self.gossiper.members if member.status is status}

    def view(self) -> tuple[Member, ...]:
        return self.gossiper.members

    async def wait_sees(self, names: set[str], status: Status = Status.ALIVE) -> float:
        """Wait until exactly ``names`` have that status here; the time."""
        return await self.wait(lambda: self.sees(status) == names)

    async def wait(self, condition: Callable[[], bool]) -> float:
        """Wait for a condition on the members; the time."""
        async with self.gossiper.events() as events:
            while not condition():
                await anext(events)
        return trio.current_time()


class Cluster:
    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        self.world = world
        self.nursery = nursery
        self.nodes: dict[str, GossipNode] = {}

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
        port: int = 7979,
    ) -> GossipNode:
        task = partial(self._run, name, cluster, generation, seeds, profile, metadata, port)
        started: GossipNode = await self.nursery.start(task)
        self.nodes[name] = started
        if join:
            await started.gossiper.join([Address(host, 7979) for host in join])
        return started

    async def start_all(self, count: int, *, profile: Profile | None = None) -> list[GossipNode]:
        """``count`` nodes that all know each other."""
        nodes = [await self.start(f"n{number}", profile=profile) for number in range(count)]
        async with trio.open_nursery() as nursery:
            for node in nodes[1:]:
                nursery.start_soon(node.gossiper.join, [nodes[0].address])
        await self.settle(*nodes)
        return nodes

    async def settle(self, *nodes: GossipNode) -> float:
        """Wait until these see each other, and only each other, alive; the time."""
        names = {node.name for node in nodes}
        for node in nodes:
            await node.wait_sees(names)
        return trio.current_time()

    def crash(self, node: GossipNode, *, refused: bool = True) -> None:
        """The process is gone; its machine refuses connections, or is gone as well."""
        if not refused:
            self.world.silent.add(node.address.host)
        self.world.bound.pop(node.address, None)
        node.scope.cancel()

    async def _run(
        self,
        name: str,
        cluster: str,
        generation: int,
        seeds: Sequence[str],
        profile: Profile | None,
        metadata: Metadata | None,
        port: int,
        *,
        task_status: trio.TaskStatus[GossipNode],
    ) -> None:
        network = self.world.at(name)
        binding = await network.bind(Address(name, port))
        recorder = Recorder()
        with trio.CancelScope() as scope:
            async with (
                open_gossiper(
                    cluster=cluster,
                    me=NodeId(name, generation),
                    address=binding.address,
                    metadata=metadata or Metadata(services=("kv",)),
                    datagrams=binding.datagrams,
                    network=network,
                    host=MemoryHost(hash_of(name)),
                    profile=profile or Profile.lan(),
                    instruments=Instruments([recorder]),
                    seeds=[Address(host, 7979) for host in seeds],
                ) as gossiper,
                trio.open_nursery() as nursery,
            ):
                task_status.started(GossipNode(gossiper, binding, recorder, scope))
                while True:
                    stream, remote = await binding.listener.accept()
                    nursery.start_soon(gossiper.serve_stream, stream, remote, b"")


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode(), "big")


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


@asynccontextmanager
async def open_cluster() -> AsyncIterator[Cluster]:
    async with trio.open_nursery() as nursery:
        yield Cluster(World(), nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def cluster(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Cluster]:
    async with open_cluster() as opened:
        yield opened
