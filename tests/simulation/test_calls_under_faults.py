"""Keyed calls under load while nodes are killed, lost, restarted, leave, join and are cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from swimring.testing import SimCluster, SimNode, run_simulation

from .leftovers import check_nothing_left
from .load import Ledger, Load, under_load
from .settled import settled_cluster

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def simulate(
    rule: Callable[[SimCluster, Ledger, list[SimNode]], Awaitable[Load]], *, seed: int, nodes: int = 4
) -> None:
    """Run ``rule`` on a settled cluster; check all calls, and that nothing is left."""

    async def main() -> None:
        ledger = Ledger()
        async with settled_cluster(4, ledger.service) as (cluster, started):
            load = await rule(cluster, ledger, started)
            load.check()
            await check_nothing_left(cluster, ledger.service.name)

    run_simulation(main, seed=seed)


def test_calls_outlive_a_killed_owner(seed: int) -> None:
    async def rule(cluster: SimCluster, ledger: Ledger, nodes: list[SimNode]) -> Load:
        async with under_load(cluster, ledger) as load:
            await trio.sleep(2)
            nodes[seed % 4].crash()
            await trio.sleep(4)
        return load

    simulate(rule, seed=seed)


def test_calls_outlive_a_lost_machine(seed: int) -> None:
    async def rule(cluster: SimCluster, ledger: Ledger, nodes: list[SimNode]) -> Load:
        async with under_load(cluster, ledger, callers=6, pause=0.2) as load:
            await trio.sleep(2)
            nodes[seed % 4].freeze()
            await cluster.settled()
            await trio.sleep(2)
        return load

    simulate(rule, seed=seed)


def test_no_call_fails_while_a_node_leaves(seed: int) -> None:
    async def rule(cluster: SimCluster, ledger: Ledger, nodes: list[SimNode]) -> Load:
        leaver = nodes[seed % 4]
        others = [node for node in nodes if node is not leaver]
        async with under_load(cluster, ledger, askers=others, callers=12, pause=0.05, work=0.3) as load:
            await trio.sleep(1)
            await leaver.drain()
            await trio.sleep(1)
        load.check(no_failures=True)
        return load

    simulate(rule, seed=seed)


def test_no_call_fails_while_a_node_joins(seed: int) -> None:
    async def rule(cluster: SimCluster, ledger: Ledger, nodes: list[SimNode]) -> Load:
        async with under_load(cluster, ledger, callers=12, pause=0.05) as load:
            await trio.sleep(1)
            await cluster.start(2, ledger.service)
            await cluster.settled()
            await trio.sleep(1)
        load.check(no_failures=True)
        return load

    simulate(rule, seed=seed)


def test_calls_outlive_the_restarts_of_all_nodes_one_after_the_other(seed: int) -> None:
    async def rule(cluster: SimCluster, ledger: Ledger, nodes: list[SimNode]) -> Load:
        async with under_load(cluster, ledger) as load:
            for node in nodes:
                node.crash()
                await trio.sleep(0.5)
                await node.restart()
                await trio.sleep(0.5)
        return load

    simulate(rule, seed=seed)


def test_no_call_fails_while_all_nodes_are_replaced_one_after_the_other(seed: int) -> None:
    async def rule(cluster: SimCluster, ledger: Ledger, nodes: list[SimNode]) -> Load:
        async with under_load(cluster, ledger) as load:
            for node in nodes:
                await node.drain()
                await node.restart()
        load.check(no_failures=True)
        return load

    simulate(rule, seed=seed)


def test_both_sides_of_a_partition_go_on_answering_and_agree_after_it(seed: int) -> None:
    async def rule(cluster: SimCluster, ledger: Ledger, nodes: list[SimNode]) -> Load:
        async with under_load(cluster, ledger, callers=6, pause=0.3) as load:
            await trio.sleep(1)
            with cluster.partition(nodes[:2], nodes[2:]):
                await trio.sleep(20 + seed % 20)
            await cluster.settled()
        return load

    simulate(rule, seed=seed)


def test_a_short_cut_of_the_network_fails_no_call(seed: int) -> None:
    async def rule(cluster: SimCluster, ledger: Ledger, nodes: list[SimNode]) -> Load:
        async with under_load(cluster, ledger) as load:
            await trio.sleep(1)
            with cluster.isolate(nodes[seed % 4]):
                await trio.sleep(1.5)
            await trio.sleep(2)
        load.check(no_failures=True)
        return load

    simulate(rule, seed=seed)
