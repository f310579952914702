"""A random schedule of faults under load, drawn from the seed; then quiet, in which everything has to come right."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import trio

from swimring.testing import SimCluster, SimNode, dice, run_simulation

from .leftovers import check_nothing_left
from .load import Ledger, under_load
from .settled import settled_cluster

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

NODES = 5
STEPS = 10


class Mayhem:
    """Faults by the dice; at least one node always runs."""

    def __init__(self, cluster: SimCluster, rng: random.Random, nursery: trio.Nursery) -> None:
        self.cluster = cluster
        self.rng = rng
        self.nursery = nursery
        self.done: list[str] = []
        self._busy: set[SimNode] = set()

    async def rage(self) -> None:
        acts = [self.crash, self.freeze, self.leave, self.restart, self.restart, self.restart, self.disturb]
        for _ in range(STEPS):
            await trio.sleep(self.rng.expovariate(1 / 2.5))
            self.rng.choice(acts)()

    def crash(self) -> None:
        if victim := self._victim():
            self._note("crash", victim)
            victim.crash()

    def freeze(self) -> None:
        if victim := self._victim():
            self._note("freeze", victim)
            victim.freeze()

    def leave(self) -> None:
        if victim := self._victim():
            self._note("leave", victim)
            self.nursery.start_soon(self._alone_with, victim, victim.drain)

    def restart(self) -> None:
        down = [node for node in self.cluster.nodes if not node.running and node not in self._busy]
        if down:
            node = self.rng.choice(down)
            self._note("restart", node)
            self.nursery.start_soon(self._alone_with, node, node.restart)

    def disturb(self) -> None:
        network, names = self.cluster.network, [node.name for node in self.cluster.nodes]
        one, other, *_ = self.rng.sample(names, 3)
        half = self.rng.sample(names, 2)
        faults = {
            "partition": functools.partial(network.partition, half, [name for name in names if name not in half]),
            "isolation": functools.partial(network.isolate, one),
            "one way": functools.partial(network.one_way, one, other),
            "loss": functools.partial(network.loss, self.rng.uniform(0.05, 0.4)),
            "duplication": functools.partial(network.duplication, 0.5),
            "reordering": functools.partial(network.latency, 0.001, 0.3),
            "refusal": functools.partial(network.refuse, one),
        }
        kind = self.rng.choice(sorted(faults))
        self._note(kind, half, one, other)
        self.nursery.start_soon(self._for_a_while, faults[kind]())

    async def _for_a_while(self, fault: AbstractContextManager[None]) -> None:
        with fault:
            await trio.sleep(self.rng.uniform(0.1, 25))

    async def _alone_with(self, node: SimNode, act: Callable[[], Awaitable[object]]) -> None:
        self._busy.add(node)
        await act()
        self._busy.discard(node)

    def _victim(self) -> SimNode | None:
        free = [node for node in self.cluster.running if node not in self._busy]
        return self.rng.choice(free) if len(free) > 1 else None

    def _note(self, *what: object) -> None:
        self.done.append(f"{trio.current_time():.3f} {' '.join(map(str, what))}")


async def scenario(seed: int, secret: bytes | None = None) -> str:
    rng = dice("mayhem", seed)
    ledger = Ledger()
    async with settled_cluster(NODES, ledger.service, secret=secret) as (cluster, _):
        async with trio.open_nursery() as nursery:
            mayhem = Mayhem(cluster, rng, nursery)
            try:
                async with under_load(cluster, ledger, callers=5, pause=0.5, work=0.3, patience=150) as load:
                    await mayhem.rage()
                load.check()
            except BaseException as error:
                error.add_note("\n".join(mayhem.done))
                raise
        await check_nothing_left(cluster, ledger.service.name)
        return cluster.network.trace.digest


def test_after_any_mix_of_faults_every_call_kept_its_rules_and_nothing_is_left(seed: int) -> None:
    run_simulation(scenario, seed, seed=seed)


def test_after_any_mix_of_faults_a_sealed_cluster_is_in_order_too(seed: int) -> None:
    run_simulation(scenario, seed, bytes(range(32)), seed=seed)
