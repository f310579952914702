"""Keys with state while nodes come, go, crash, stand still and are cut off from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import OwnershipLost
from swimring.ownership import spreading
from swimring.testing import current_seed, dice, one_owner_per_fence, open_sim_cluster, run_simulation

from .counters import Counters, grown, one_owner_at_a_time, open_at_once

if TYPE_CHECKING:
    import random

    from swimring.testing import SimCluster, SimNode

pytestmark = pytest.mark.costly

# ------------------------------------------------------------------------------------------------- planned moves


@pytest.mark.parametrize("work", [0.0, 0.05])
def test_a_rolling_restart_loses_no_call_and_no_count(seed: int, work: float) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=2, work=work)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(5, counters.service)
            await cluster.settled()
            cluster.check(one_owner_at_a_time, one_owner_per_fence())
            async with counters.load(cluster, keys=16, rate=20):
                await trio.sleep(1)
                for node in nodes:
                    await node.drain()
                    await node.restart()
                    await trio.sleep(0.5)
            await cluster.settled()
            assert counters.refused == []
            assert counters.maybe.total() == 0, counters.failures
            assert await counters.wrong(cluster, exact=True) == []
            assert counters.acknowledged.total() > 80
            assert counters.slowest < 1

    run_simulation(scenario, seed=seed)


def test_two_scopes_of_a_key_are_never_open_at_once_while_nodes_come_and_go(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=0)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(2, counters.service)
            cluster.check(one_owner_at_a_time, one_owner_per_fence())
            async with counters.load(cluster, keys=60, rate=60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cluster.start, 2, counters.service)
                    await trio.sleep(0.5)
                await trio.sleep(dice("pause", current_seed()).uniform(0, 1))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(nodes[0].drain)
                    nursery.start_soon(cluster.start, 1, counters.service)
                await nodes[0].restart()
                await trio.sleep(1)
            await cluster.settled()
            assert counters.refused == []
            assert await counters.wrong(cluster, exact=True) == [], counters.failures

    run_simulation(scenario, seed=seed)


def test_a_call_that_outlives_the_budget_may_have_been_executed(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1, work=30.0, budget=0.5)
        async with open_sim_cluster() as cluster:
            await cluster.start(3, counters.service)
            asker, _ = await cluster.start(2, counters.service, weight=0)
            await cluster.settled()
            owner = cluster.owner_of("slow", counters.service)
            failed = []

            async def call() -> None:
                try:
                    await asker.node.call(counters.add, "slow")
                except OwnershipLost as error:
                    failed.append(error.maybe_executed)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await trio.sleep(1)
                began = trio.current_time()
                await owner.drain()
                assert trio.current_time() - began < 3
            assert failed == [True]

    run_simulation(scenario, seed=seed)


# ------------------------------------------------------------------------------------------------------- crashes


def test_crashes_of_as_many_nodes_as_replicas_lose_no_acknowledged_count(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=2)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(5, counters.service)
            await cluster.settled()
            rng = dice("crash", current_seed())
            async with counters.load(cluster, keys=16, rate=20):
                await trio.sleep(1)
                for node in rng.sample(nodes, 2):
                    (node.crash if rng.random() < 0.7 else node.freeze)()
                await trio.sleep(15)
            await cluster.settled()
            assert await counters.wrong(cluster) == [], counters.failures
            assert counters.refused == []
            assert counters.hung == 0

    run_simulation(scenario, seed=seed)


def test_a_node_that_is_killed_and_back_at_once_restores_from_its_replicas(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(4, counters.service)
            await cluster.settled()
            rng = dice("crash", current_seed())
            async with counters.load(cluster, keys=16, rate=20):
                for _ in range(3):
                    await trio.sleep(2)
                    node = rng.choice(nodes)
                    node.crash()
                    await node.restart()
                    await cluster.settled()
                    await trio.sleep(5)
            await cluster.settled()
            assert await counters.wrong(cluster) == [], counters.failures
            assert counters.refused == []

    run_simulation(scenario, seed=seed)


# ---------------------------------------------------------------------------------------------------- partitions


def test_both_sides_of_a_partition_serve_and_the_later_fence_wins(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=3)  # so that each side has a copy
        counters.patience = 10.0
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(5, counters.service)
            await cluster.settled()
            cluster.check(one_owner_per_fence())
            few, many = nodes[:2], nodes[2:]
            keys = [f"k{number}" for number in range(20)]
            for key in keys:
                await nodes[0].node.call(counters.add, key)
            with cluster.partition(few, many):
                await trio.sleep(40)
                for side in (few, many):
                    for key in keys:
                        assert await side[0].node.call(counters.add, key) == 2
                for key in keys[:10]:
                    assert await few[1].node.call(counters.add, key) == 3
                fences = open_at_once(cluster)
            await cluster.settled()
            await trio.sleep(10)
            for key in keys:
                owners = fences["counter", key.encode()]
                last = max(owners, key=lambda owner: owner[1])[0]
                assert len(owners) == 2
                value = await nodes[3].node.call(counters.read, key)
                assert value == (3 if key in keys[:10] and last in ("n1", "n2") else 2)
            assert all(len(owners) == 1 for owners in open_at_once(cluster).values())

    run_simulation(scenario, seed=seed)


def test_what_one_side_of_a_partition_alone_has_kept_is_found_by_the_other_side_when_it_is_over(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before any copy is brought, and where no ring that an owner remembers leads to one."""
    monkeypatch.setattr(spreading, "HEAD_START", 300.0)

    async def scenario() -> None:
        counters = Counters(replicas=1, idle=1.0)  # so that nobody is told who called what
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(14, counters.service)
            await cluster.settled()
            few, many = nodes[:10], nodes[10:]
            keys = [f"k{number}" for number in range(30)]
            with cluster.partition(few, many):
                await trio.sleep(70)
                for key in keys:
                    assert await many[0].node.call(counters.add, key) == 1
                await trio.sleep(3)
            await cluster.settled()
            for key in keys:
                assert await few[0].node.call(counters.add, key) == 2

    run_simulation(scenario, seed=seed)


# ------------------------------------------------------------------------------------------------ standing still


def test_an_owner_that_wakes_writes_nothing_with_its_old_fence(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(5, counters.service)
            await cluster.settled()
            cluster.check(one_owner_per_fence())
            victim = dice("victim", current_seed()).choice(nodes)
            counters.patience = 40.0
            async with counters.load(cluster, keys=16, rate=20):
                await trio.sleep(1)
                victim.pause()
                await trio.sleep(15)
                victim.resume()
                await trio.sleep(5)
            await cluster.settled()
            assert await counters.wrong(cluster) == [], counters.failures
            assert counters.refused == []
            assert counters.hung == 0

    run_simulation(scenario, seed=seed)


# --------------------------------------------------------------------------------------------- one after the other


async def _ends_and_starts(node: SimNode, rng: random.Random) -> None:
    how = rng.choice(["drained", "drained", "killed", "killed and back at once", "lost"])
    if how == "drained":
        await node.drain()
    elif how == "lost":
        node.freeze()
        await trio.sleep(rng.uniform(10, 20))
    else:
        node.crash()
        await trio.sleep(rng.uniform(0, 10) if how == "killed" else 0)
    await node.restart()


async def _is_late(node: SimNode, rng: random.Random) -> None:
    if rng.random() < 0.3:
        with node.slow(0.05):
            await trio.sleep(3)
        return
    node.pause()
    await trio.sleep(rng.choice([rng.uniform(0, 2), rng.uniform(3, 20)]))
    node.resume()


async def _something_happens(cluster: SimCluster, counters: Counters, rng: random.Random) -> None:
    node, what = rng.choice(cluster.awake), rng.random()
    if what < 0.5:
        await _ends_and_starts(node, rng)
    elif what < 0.75:
        await _is_late(node, rng)
    elif what < 0.9 and len(cluster.running) < 7:
        await cluster.start(1, counters.service)
    else:  # too short for anybody to be declared dead
        others = [other for other in cluster.awake if other is not node]
        with cluster.partition([node], rng.sample(others, len(others) // 2)):
            await trio.sleep(rng.uniform(0, 1.5))


def test_one_fault_after_the_other_loses_no_acknowledged_count(seed: int) -> None:
    async def scenario() -> None:
        counters, rng = Counters(replicas=2, work=0.01), dice("faults", current_seed())
        async with open_sim_cluster() as cluster:
            await cluster.start(5, counters.service)
            await cluster.settled()
            cluster.check(one_owner_per_fence())
            async with counters.load(cluster, keys=16, rate=12):
                for _ in range(4):
                    await trio.sleep(rng.uniform(0, 2))
                    await _something_happens(cluster, counters, rng)
                    await grown(cluster)  # until what the fault has cost in copies is repaired
            await cluster.settled()
            assert await counters.wrong(cluster) == [], counters.failures
            assert counters.refused == []
            assert counters.hung == 0
            assert len(open_at_once(cluster)) == sum(len(owners) for owners in open_at_once(cluster).values())

    run_simulation(scenario, seed=seed)
