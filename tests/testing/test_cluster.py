"""The rules of the simulated cluster; what a node does in it is tested in tests/simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import ConfigError
from swimring.service import Request, Service
from swimring.swim import Status
from swimring.testing import SimCluster, SimNode, open_sim_cluster, run_simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.node import Node

kv = Service("kv")


@kv.on("where", idempotent=True)
async def where(request: Request) -> str:
    return request.node.name


def simulate(rule: Callable[[SimCluster], Awaitable[None]], *, seed: int = 1) -> str:
    async def main() -> str:
        async with open_sim_cluster() as cluster:
            await rule(cluster)
        return cluster.network.trace.digest

    return run_simulation(main, seed=seed)


def seen_by(node: SimNode, status: Status = Status.ALIVE) -> list[str]:
    return [member.name for member in node.node.members if member.status is status]


async def through_everything(cluster: SimCluster) -> None:
    """Calls, a crash, a lost machine, a partition, a farewell, and the restarts of all."""
    nodes = await cluster.start(5, kv)
    await cluster.settled()
    for number in range(10):
        key = f"key {number}"
        assert await nodes[number % 5].node.call(where, key) == cluster.owner_of(key).name
    nodes[1].crash()
    await cluster.settled()
    nodes[2].freeze()
    await cluster.settled()
    with cluster.partition(nodes[0], nodes[3:]):
        await trio.sleep(60)
    await cluster.settled()
    await nodes[4].drain()
    await cluster.settled()
    for down in (nodes[1], nodes[2], nodes[4]):
        await down.restart()
    await cluster.settled()


def test_a_cluster_goes_through_everything_and_a_seed_repeats_it() -> None:
    assert simulate(through_everything, seed=3) == simulate(through_everything, seed=3)


def test_all_running_nodes_agree_on_an_owner_once_settled() -> None:
    async def rule(cluster: SimCluster) -> None:
        nodes = await cluster.start(3, kv)
        await cluster.settled()
        owners = {cluster.owner_of(f"key {number}") for number in range(50)}
        assert owners == set(nodes)

    simulate(rule)


def test_a_crashed_node_is_found_dead_at_once_because_dialling_it_is_refused() -> None:
    async def rule(cluster: SimCluster) -> None:
        nodes = await cluster.start(4, kv)
        await cluster.settled()
        await nodes[0].node.call(where, "key")
        nodes[3].crash()
        assert await cluster.settled() < 3
        assert seen_by(nodes[0], Status.DEAD) == ["n4"]

    simulate(rule)


def test_a_frozen_node_is_found_dead_by_suspicion() -> None:
    async def rule(cluster: SimCluster) -> None:
        nodes = await cluster.start(4, kv)
        await cluster.settled()
        nodes[3].freeze()
        assert 3 < await cluster.settled() < 60

    simulate(rule)


def test_a_restarted_node_has_its_old_name_and_a_newer_generation() -> None:
    async def rule(cluster: SimCluster) -> None:
        nodes = await cluster.start(3, kv)
        await cluster.settled()
        before = nodes[1].node.me.id
        owner_before = cluster.owner_of("key")
        nodes[1].crash()
        assert not nodes[1].running
        after = (await nodes[1].restart()).me.id
        await cluster.settled()
        assert (after.name, after.generation > before.generation) == (before.name, True)
        assert cluster.owner_of("key") is owner_before

    simulate(rule)


def test_both_sides_of_a_partition_go_on_and_find_each_other_again() -> None:
    async def rule(cluster: SimCluster) -> None:
        nodes = await cluster.start(5, kv)
        await cluster.settled()
        with cluster.partition(nodes[:2], nodes[2:]):
            await trio.sleep(120)
            assert [len(seen_by(node)) for node in nodes] == [2, 2, 3, 3, 3]
        await cluster.settled()

    simulate(rule)


def test_an_isolated_node_is_alone_until_the_block_ends() -> None:
    async def rule(cluster: SimCluster) -> None:
        nodes = await cluster.start(3, kv)
        with cluster.isolate(nodes[0]):
            await trio.sleep(120)
            assert seen_by(nodes[0]) == ["n1"]
        await cluster.settled()

    simulate(rule)


def test_an_idempotent_call_to_a_killed_owner_is_answered_by_the_next() -> None:
    async def rule(cluster: SimCluster) -> None:
        nodes = await cluster.start(3, kv)
        await cluster.settled()
        owner = cluster.owner_of("key")
        caller = next(node for node in nodes if node is not owner)
        await caller.node.call(where, "key")
        owner.crash()
        with trio.fail_after(30):
            assert await caller.node.call(where, "key") != owner.name

    simulate(rule)


def test_a_node_that_is_down_cannot_be_used_or_killed_again() -> None:
    async def rule(cluster: SimCluster) -> None:
        (node,) = await cluster.start(1, kv)
        with pytest.raises(ConfigError, match="running"):
            await node.restart()
        node.crash()
        for use in (node.crash, node.freeze, lambda: node.node):
            with pytest.raises(ConfigError, match="not running"):
                use()
        with pytest.raises(ConfigError, match="not running"):
            await node.drain()

    simulate(rule)


def test_a_cluster_that_never_settles_says_who_sees_whom() -> None:
    async def rule(cluster: SimCluster) -> None:
        nodes = await cluster.start(3, kv)
        await cluster.settled()
        with cluster.isolate(nodes[0]):
            await trio.sleep(120)
            with pytest.raises(AssertionError, match="n1 sees n1 and kv on n1; n2 sees n2, n3 and kv on n2, n3"):
                await cluster.settled()

    simulate(rule)


def test_an_error_in_a_node_that_was_not_killed_fails_the_simulation() -> None:
    async def rule(cluster: SimCluster) -> None:
        await cluster.start(1, kv, profile="no such profile")

    with pytest.raises(ExceptionGroup) as failure:
        simulate(rule)
    assert failure.group_contains(ConfigError, match="no such profile")


def test_a_fault_is_in_force_within_an_async_with_as_well() -> None:
    async def rule(cluster: SimCluster) -> None:
        one, *others = await cluster.start(3, kv)
        await cluster.settled()
        async with cluster.partition(one, others):
            await trio.sleep(120)
            assert seen_by(one) == ["n1"]
        await cluster.settled()
        assert [fault.text for fault in cluster.history.faults] == [
            "partition n1 | n2 n3",
            "end of: partition n1 | n2 n3",
        ]

    simulate(rule)


def test_nobody_is_warned_of_listeners_on_a_network_that_is_inside_of_this_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def rule(cluster: SimCluster) -> None:
        await cluster.start(2, kv)

    simulate(rule)
    told = [record.__dict__.get("event") for record in caplog.records]
    assert "node.alone" in told
    assert "node.exposed" not in told


def test_what_runs_beside_a_node_begins_with_each_life_and_ends_before_the_node_leaves() -> None:
    notes: list[tuple[str, str]] = []

    async def beside(node: Node) -> None:
        notes.append((node.name, "begins"))
        try:
            await trio.sleep_forever()
        finally:
            notes.append((node.name, "ends" if node.me.status is Status.ALIVE else "too late"))

    async def rule(cluster: SimCluster) -> None:
        one, two = await cluster.start(2, kv, beside=beside)
        await two.drain()
        await two.restart()
        await trio.sleep(0.001)  # it begins in a turn of its own
        assert notes == [("n1", "begins"), ("n2", "begins"), ("n2", "ends"), ("n2", "begins")]
        one.crash()

    simulate(rule)
