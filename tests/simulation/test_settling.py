"""Whole clusters in which nodes take their keys in steps, wait for who drains, and come back to their places."""

from __future__ import annotations

import itertools

import trio

from swimring.ownership import DRAIN_PATIENCE, HandOff, RangesGained
from swimring.service import Service
from swimring.swim import FULL_SHARE, Status
from swimring.testing import SimCluster, SimNode, open_sim_cluster, run_simulation

from .counters import Counters

KEYS = [f"k{number}" for number in range(300)]


def share(node: SimNode) -> int:
    return node.node.standing.share


def owners(node: SimNode) -> dict[str, str]:
    return {key: node.node.lookup(key).name for key in KEYS}


def check_agreed(cluster: SimCluster) -> None:
    assert len({node.node.ring().version for node in cluster.awake}) == 1
    assert all(share(node) == FULL_SHARE for node in cluster.awake)


async def stateful(cluster: SimCluster, count: int, kv: Service, *, restart_hold: int = 0) -> list[SimNode]:
    """So many nodes that hold state."""
    nodes = await cluster.start(count, kv, restart_hold=restart_hold)
    await cluster.settled()
    for node in nodes:
        await node.node.hold_state()
    await trio.sleep(2)
    return nodes


def test_a_node_that_joins_others_with_state_takes_its_keys_in_four_steps_and_no_key_moves_back(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            (first, *_) = await stateful(cluster, 3, kv := Service("kv"))
            gained: list[float] = []
            steps = [owners(first)]

            async def watch() -> None:
                async with new.node.events() as events:
                    async for event in events:
                        if isinstance(event, RangesGained):
                            gained.append(event.share)
                            steps.append(owners(new))

            (new,) = await cluster.start(1, kv)
            nursery.start_soon(watch)
            assert share(new) == 4
            await trio.sleep(10)
            check_agreed(cluster)
            steps.append(owners(first))
            assert len(gained) == 3, "three more steps"
            for before, after in itertools.pairwise(steps):
                moved = {key for key in KEYS if before[key] != after[key]}
                assert {after[key] for key in moved} <= {new.name}
            total = new.node.ring().share()[new.name]
            assert all(0.05 * total < part < 0.6 * total for part in gained)
            nursery.cancel_scope.cancel()

    run_simulation(scenario, seed=seed)


def test_a_cluster_without_state_and_one_that_starts_together_take_everything_at_once(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(4, kv := Service("kv"))
            assert [share(node) for node in nodes] == [FULL_SHARE] * 4
            assert {node.node.me.incarnation for node in nodes} == {1}, "nothing was told about it"
            (new,) = await cluster.start(1, kv, gradual=True)
            assert share(new) == 4
            (other,) = await cluster.start(1, kv, gradual=False)
            assert share(other) == FULL_SHARE
            await trio.sleep(10)
            check_agreed(cluster)

    run_simulation(scenario, seed=seed)


def test_no_step_is_taken_while_another_member_drains_for_half_a_minute_at_most(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            (_, second, third) = await stateful(cluster, 3, kv := Service("kv"))
            await second.node.ask_to_drain()
            await trio.sleep(1)
            (new,) = await cluster.start(1, kv)
            await trio.sleep(10)
            assert share(new) == 0
            assert new.name not in new.node.ring().nodes
            assert set(owners(third).values()) == {"n1", "n3"}
            await second.drain()
            await trio.sleep(10)
            check_agreed(cluster)
            await third.node.ask_to_drain()
            await trio.sleep(1)
            (late,) = await cluster.start(1, kv)
            await trio.sleep(DRAIN_PATIENCE - 5)
            assert share(late) == 0
            await trio.sleep(10)
            assert share(late) > 0, "a drain that hangs stops nobody for ever"

    run_simulation(scenario, seed=seed)


def test_a_node_that_comes_back_within_its_hold_finds_its_place_kept_and_takes_all_of_it_at_once(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            (first, second, third) = await stateful(cluster, 3, Service("kv"), restart_hold=30)
            before = owners(first)
            for end in ("crash", "drain"):
                if end == "crash":
                    second.crash()
                else:
                    await second.drain()
                await cluster.settled()
                for node in (first, third):
                    assert node.node.places_kept("n2") > 25
                    away = owners(node)
                    assert all(away[key] == before[key] for key in KEYS if before[key] != "n2")
                    assert "n2" not in away.values(), "its replicas serve its keys"
                began = trio.current_time()
                await second.restart()
                assert trio.current_time() - began < 2
                await trio.sleep(0.7)
                assert share(second) == FULL_SHARE
                assert owners(first) == owners(second) == before
                await second.node.hold_state()
                await trio.sleep(31)

    run_simulation(scenario, seed=seed)


def test_a_node_that_comes_back_too_late_or_was_told_to_go_for_good_joins_like_a_new_one(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            (first, second, third) = await stateful(cluster, 3, Service("kv"), restart_hold=20)
            second.crash()
            await cluster.settled()
            await trio.sleep(25)
            assert first.node.places_kept("n2") == 0
            await second.restart()
            await trio.sleep(0.7)
            assert share(second) == 4
            await trio.sleep(5)
            check_agreed(cluster)
            await third.node.ask_to_drain()
            await third.drain()
            await cluster.settled()
            assert {member.name: member.status for member in first.node.members}["n3"] is Status.LEFT
            assert first.node.places_kept("n3") == 0

    run_simulation(scenario, seed=seed)


def test_who_joins_a_cluster_whose_keys_have_state_takes_steps_by_itself_and_no_count_is_lost(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(3, counters.service)
            await cluster.settled()
            assert not any(node.node.standing.stateful for node in nodes)
            async with counters.load(cluster, rate=50):
                await trio.sleep(3)
                assert all(node.node.standing.stateful for node in nodes)
                (new,) = await cluster.start(1, counters.service)
                assert share(new) == 4
                await trio.sleep(6)
                assert share(new) == FULL_SHARE
                handed_over: list[HandOff] = []

                async def watch() -> None:
                    handed_over.extend([each async for each in leaving.hand_off.changes()])

                leaving = nodes[0].node
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(watch)
                    await leaving.ask_to_drain()
                    await nodes[0].drain()
                await cluster.settled()
            assert handed_over[-1].left == 0 < handed_over[-1].total
            assert await counters.wrong(cluster, exact=True) == []
            assert not counters.failures

    run_simulation(scenario, seed=seed)


def test_no_copy_is_made_for_a_node_that_comes_back_in_time_and_no_count_is_lost(seed: int) -> None:
    async def scenario() -> None:
        counters = Counters(replicas=1)
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(4, counters.service, restart_hold=30)
            await cluster.settled()
            async with counters.load(cluster, rate=50):
                await trio.sleep(3)
            others = [nodes[0], *nodes[2:]]
            await trio.sleep(5)
            nodes[1].crash()
            await cluster.settled()
            sent = [node.node.ownership_statistics().copies_sent for node in others]
            await trio.sleep(10)
            assert [node.node.ownership_statistics().copies_sent for node in others] == sent
            await nodes[1].restart()
            await cluster.settled()
            await trio.sleep(3)
            assert share(nodes[1]) == FULL_SHARE
            assert sum(node.node.ownership_statistics().copies_sent for node in others) > sum(sent), "it gets its own"
            assert await counters.wrong(cluster) == []

    run_simulation(scenario, seed=seed)
