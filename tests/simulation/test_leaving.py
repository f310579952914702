"""A node that leaves in good order loses nothing: not what it was asked, and not what its handlers ask others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from swimring.errors import ConnectionLost, NodeClosed
from swimring.ownership import spreading
from swimring.testing import open_sim_cluster, run_simulation

from .counters import Counters
from .leftovers import check_nothing_left
from .load import Ledger, under_load
from .settled import settled_cluster

if TYPE_CHECKING:
    from swimring.testing import SimNode


def key_of(owner: SimNode) -> str:
    return next(key for key in (f"k{n}" for n in range(1000)) if owner.node.owns(key))


def test_a_handler_on_a_leaving_node_may_still_ask_others(seed: int) -> None:
    async def scenario() -> None:
        ledger = Ledger()
        async with settled_cluster(3, ledger.service) as (cluster, nodes):
            leaver, caller, other = nodes
            answers: list[list[str]] = []

            async def ask() -> None:
                answers.append(await caller.node.call(ledger.slow_relay, key_of(leaver), "c1", 1.2, key_of(other)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.sleep(0.1)
                await leaver.drain()
            assert answers == [[leaver.name, other.name]]
            assert ledger.runs == {"c1": 1, "c1 relayed": 1}
            await check_nothing_left(cluster, "ledger")

    run_simulation(scenario, seed=seed)


def test_no_call_fails_while_a_node_leaves_under_heavy_load_in_both_directions(seed: int) -> None:
    async def scenario() -> None:
        ledger = Ledger()
        async with settled_cluster(3, ledger.service) as (cluster, nodes):
            leaver = nodes[seed % 3]
            others = [node for node in nodes if node is not leaver]
            async with under_load(
                cluster, ledger, askers=others, callers=60, pause=0.02, work=0.02, relayed=0.4
            ) as load:
                await trio.sleep(0.2)
                await leaver.drain()
            load.check(no_failures=True)
            await check_nothing_left(cluster, "ledger")

    run_simulation(scenario, seed=seed)


def test_a_call_that_outlives_its_node_ends_with_it(seed: int) -> None:
    """Also if the task that made it is not one of the node: nothing hangs, whatever the call waits for."""

    async def scenario() -> None:
        ledger = Ledger()
        async with settled_cluster(3, ledger.service) as (cluster, nodes):
            asker, lost, owner = nodes
            node = asker.node

            async def ask(key: str, work: float) -> None:
                with pytest.raises((ConnectionLost, NodeClosed)):
                    await node.call(ledger.read, key, "c", work)

            key_lost = key_of(lost)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, key_of(owner), 3600.0)
                nursery.start_soon(ask, key_of(asker), 3600.0)
                lost.freeze()
                nursery.start_soon(ask, key_lost, 3600.0)
                with cluster.network.refuse(lost.name):
                    nursery.start_soon(ask, key_lost, 3600.0)
                    await trio.sleep(0.5)
                    await asker.drain()
                with trio.fail_after(0.1):
                    while nursery.child_tasks:
                        await trio.testing.wait_all_tasks_blocked()
            for key in (key_lost, key_of(owner)):
                with pytest.raises(NodeClosed):
                    await node.call(ledger.read, key, "c", 0.0)

    run_simulation(scenario, seed=seed)


def test_a_node_that_cannot_hand_over_in_its_time_leaves_after_it_and_not_after_twice_that(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreading, "HEAD_START", 300.0)

    async def scenario() -> None:
        counters = Counters(replicas=1, idle=1.0)
        async with open_sim_cluster() as cluster:
            leaver, *_ = await cluster.start(3, counters.service, gradual=False)
            await cluster.settled()
            await counters.add_one(cluster, key_of(leaver))
            await trio.sleep(3)
            began = trio.current_time()
            await leaver.drain()
            assert 30 <= trio.current_time() - began < 35
            assert await counters.wrong(cluster, exact=True) == []

    run_simulation(scenario, seed=seed)
