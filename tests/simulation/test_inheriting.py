"""Keys that were called where a planned move took them from are open at their next owner before anybody calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.ownership.rooms import WARM
from swimring.testing import current_seed, dice, one_owner_per_fence, open_sim_cluster, run_simulation

from .counters import Counters, grown, one_owner_at_a_time, open_at_once

if TYPE_CHECKING:
    from swimring.testing import SimCluster

pytestmark = pytest.mark.costly

KEYS = [f"k{number}" for number in range(100)]


def open_on(cluster: SimCluster) -> dict[str, str]:
    """By whom each key is open."""
    return {key.decode(): name for (_, key), owners in open_at_once(cluster).items() for name, _ in owners}


def test_keys_that_were_called_are_open_at_their_next_owner_before_anybody_calls(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(4, counters.service)
            await cluster.settled()
            cluster.check(one_owner_at_a_time, one_owner_per_fence())
            for key in KEYS:
                await counters.add_one(cluster, key)
            leaving = dice("leaving", current_seed()).choice(nodes)
            await leaving.drain()
            await cluster.settled()
            await trio.sleep(1)
            assert open_on(cluster) == {key: cluster.owner_of(key, counters.service).name for key in KEYS}
            await leaving.restart()
            await grown(cluster)
            assert open_on(cluster) == {key: cluster.owner_of(key, counters.service).name for key in KEYS}
            assert leaving.name in open_on(cluster).values()
            assert await counters.wrong(cluster, exact=True) == []

    run_simulation(scenario, seed=seed)


def test_keys_that_nobody_has_called_for_a_while_open_when_they_are_called(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(3, counters.service)
            await cluster.settled()
            for key in KEYS:
                await counters.add_one(cluster, key)
            leaving = dice("leaving", current_seed()).choice(nodes)
            theirs = [key for key in KEYS if cluster.owner_of(key, counters.service) is leaving]
            await trio.sleep(WARM + 1)
            await leaving.drain()
            await cluster.settled()
            await trio.sleep(5)
            assert theirs
            assert open_on(cluster).keys().isdisjoint(theirs)
            assert await counters.wrong(cluster, exact=True) == []

    run_simulation(scenario, seed=seed)


def test_keys_that_were_inherited_and_not_called_are_closed_when_they_are_idle(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1, idle=5.0)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(3, counters.service)
            await cluster.settled()
            for key in KEYS:
                await counters.add_one(cluster, key)
            await nodes[0].drain()
            await trio.sleep(7)
            assert open_on(cluster) == {}
            assert await counters.wrong(cluster, exact=True) == []

    run_simulation(scenario, seed=seed)
