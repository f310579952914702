"""All that can be done to a simulated cluster in one run, by the dice: to show that a seed repeats it."""

from __future__ import annotations

import random
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from swimring.errors import StoreError
from swimring.service import Request, Service
from swimring.testing import Latency, SimCluster, SimNode, dice, open_sim_cluster

if TYPE_CHECKING:
    from swimring.node import Node

NODES = 5


def notes() -> Service:
    """A service that asks its node for clocks, dice, identifiers and files, and iterates over sets of strings."""
    service = Service("notes")

    @service.on("write", idempotent=True)
    async def write(request: Request, text: str) -> str:
        host, store = request.node.host, request.node.store
        identifier = uuid.UUID(bytes=host.entropy(16), version=4)
        words = sorted({text, str(identifier), request.node.name})  # unsorted it would follow the hash seed
        line = f"{host.wall_ms()} {host.boot_time():.6f} {host.rng.random()} {random.random()} {words}\n"  # noqa: TID251
        await store.append("notes", line.encode())
        if len(text) % 2:
            await store.sync("notes")
        if len(text) % 5 == 0:
            await store.write("last", line.encode())
        return line

    return service


class Everything:
    """Every fault of the kit, every end of a life and every restart, for a while each, some at the same time."""

    def __init__(self, cluster: SimCluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rng = rng
        self.used: set[str] = set()

    async def happen(self, nursery: trio.Nursery) -> None:
        network = [
            "partition", "isolate", "one_way", "flapping", "loss", "duplication", "reordering", "corruption", "latency",
            "bandwidth", "refuse", "half_open",
        ]  # fmt: skip
        machines = [
            "clock_skew", "clock_drift", "full_disk", "failing_disk", "slow_disk", "torn_writes", "forgetful_disk",
            "slow", "pause", "crash", "freeze", "drain",
        ]  # fmt: skip
        names = self.rng.sample(network + machines, len(network + machines))
        for name in names:
            self.used.add(name)
            nursery.start_soon(self.happen_one, name)
            await trio.sleep(self.rng.uniform(0.2, 3))

    async def happen_one(self, name: str) -> None:
        one, other = self.rng.sample(self.cluster.nodes, 2)
        if name in ("pause", "crash", "freeze", "drain"):
            await self.down(name, one)
            return
        cluster, rest = self.cluster, [node for node in self.cluster.nodes if node is not one]
        arguments: dict[str, tuple[object, ...]] = {
            "partition": (one, rest), "isolate": (one,), "one_way": (one, other), "flapping": (one, rest),
            "loss": (0.2,), "duplication": (0.5,), "reordering": (0.5,), "corruption": (0.1,),
            "latency": (0.01, 0.2), "bandwidth": (50_000.0,), "refuse": (one,), "half_open": (one, other),
            "clock_skew": (-3600.0, one), "clock_drift": (0.01, other), "full_disk": (one,), "failing_disk": (0.3,),
            "slow_disk": (0.1, 0.5), "torn_writes": (), "forgetful_disk": (),
        }  # fmt: skip
        async with AsyncExitStack() as stack:
            if name == "slow":
                stack.enter_context(one.slow(0.05))
            elif name == "flapping":
                await stack.enter_async_context(cluster.flapping(one, rest, interval=1.0))
            else:
                await stack.enter_async_context(getattr(cluster, name)(*arguments[name]))
            await trio.sleep(self.rng.uniform(1, 10))

    async def down(self, how: str, node: SimNode) -> None:
        if not node.running or len(self.cluster.awake) < 3:
            return
        if how == "pause":
            node.pause()
            await trio.sleep(self.rng.uniform(0.5, 5))
            node.resume()
            return
        if how == "drain":
            await node.drain()
        else:
            (node.crash if how == "crash" else node.freeze)()
        await trio.sleep(self.rng.uniform(0.5, 5))
        for _ in range(100):
            try:
                await node.restart(data=self.rng.random() < 0.5)
                return
            except* StoreError:  # its disk is full, or fails: whoever started it starts it once more
                await trio.sleep(1)


async def scenario(seed: int) -> str:
    """What happened, as a hash and in words."""
    service = notes()

    async def write(node: Node, number: int) -> str:
        line: str = await node.request(
            {"ns": "notes", "cmd": "write", "key": f"k{number % 17}", "text": "x" * (number % 11)}, idempotent=True
        )
        return line

    async with open_sim_cluster(latency=Latency(low=0.001, high=0.003, tail=0.001)) as cluster:
        await cluster.start(NODES, service)
        await cluster.settled()
        everything = Everything(cluster, dice("everything", seed))
        async with cluster.load(write, rate=20, patience=30) as load, trio.open_nursery() as nursery:
            await everything.happen(nursery)
        await cluster.nothing_left()
        kept = [sorted(node.disk.files) for node in cluster.nodes]
        outcomes = sorted((outcome.name, count) for outcome, count in load.outcomes.items())
        told = [(record.number, record.asker, record.latency, record.value) for record in load.records]
        lines = [cluster.network.trace.digest, outcomes, kept, cluster.history.schedule(), cluster.history.timeline()]
        assert len(everything.used) == 24
        return f"{lines} {told} {random.random()}"  # noqa: TID251 - the dice of the module are seeded, too
