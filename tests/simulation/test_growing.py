"""Many nodes that join at once: no count that was acknowledged is lost."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.ownership import past, spreading
from swimring.testing import current_seed, dice, open_sim_cluster, run_simulation

from .counters import Counters, grown

if TYPE_CHECKING:
    from swimring.testing import SimCluster

pytestmark = pytest.mark.costly

KEYS = [f"k{number}" for number in range(200)]


async def begin(cluster: SimCluster, counters: Counters) -> None:
    """Three nodes that have counted one of each key."""
    await cluster.start(3, counters.service, gradual=False)
    await cluster.settled()
    for key in KEYS:
        await counters.add_one(cluster, key)
    await trio.sleep(3)


@pytest.mark.parametrize("replicas", [0, 1])
def test_nine_nodes_that_join_three_at_once_over_a_bad_network_lose_no_count(seed: int, replicas: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=replicas, idle=1.0)
        rng = dice("slow", current_seed())
        async with open_sim_cluster() as cluster:
            await begin(cluster, counters)
            with cluster.loss(0.2), contextlib.ExitStack() as slow:
                async with counters.load(cluster, keys=200, rate=30):
                    async with trio.open_nursery() as nursery:
                        for _ in range(9):
                            nursery.start_soon(partial(cluster.start, 1, counters.service, gradual=False))
                        await trio.sleep(0.01)
                        for one in cluster.nodes:
                            if rng.random() < 0.6:
                                slow.enter_context(one.slow(rng.uniform(0.02, 0.5)))
                    await trio.sleep(8)
            await grown(cluster)
            assert await counters.wrong(cluster) == [], counters.failures

    run_simulation(scenario, seed=seed)


def test_rings_that_change_faster_than_copies_are_brought_lose_no_count(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rings than anybody remembers, before anything is brought: no ring leads to the copies."""
    monkeypatch.setattr(spreading, "HEAD_START", 300.0)
    monkeypatch.setattr(past, "MAX_RINGS", 4)

    async def scenario() -> None:
        counters = Counters(replicas=1, idle=1.0)
        async with open_sim_cluster() as cluster:
            await begin(cluster, counters)
            await cluster.start(9, counters.service, gradual=False)
            away: set[str] = set()
            for step in range(1, 8):  # a Gray code of who is cordoned: no ring comes back
                one = cluster.nodes[3 + (step & -step).bit_length()].node
                away ^= {one.me.name}
                await (one.cordon() if one.me.name in away else one.uncordon())
                await trio.sleep(0.3)
            assert not sum(one.node.ownership_statistics().copies_sent for one in cluster.nodes)
            async with trio.open_nursery() as calls:
                for key in KEYS:
                    calls.start_soon(counters.add_one, cluster, key)
            assert await counters.wrong(cluster, exact=True) == [], counters.failures

    run_simulation(scenario, seed=seed)
