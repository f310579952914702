"""Trackers while nodes join, crash, leave and lose each other: who owns a key no more hears it once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from swimring.errors import NotOwner
from swimring.ownership import Moved, ReplicaChanged
from swimring.service import Request, Service
from swimring.testing import SimCluster, SimNode, open_sim_cluster, run_simulation

if TYPE_CHECKING:
    from swimring.swim import Member

KEYS = [f"k{number}" for number in range(60)]


def service() -> Service:
    kv = Service("kv")

    @kv.on("where", idempotent=True)
    async def where(request: Request) -> str:
        return request.node.name

    return kv


@dataclass
class Watch:
    """What the tracker of one key on one node has told."""

    node: str
    key: str
    replicas: list[Member] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)

    def take(self, told: Moved | ReplicaChanged) -> None:
        assert not self.moved, "nothing comes after the move"
        if isinstance(told, Moved):
            self.moved.append(told)
            return
        if told.old is not None:
            self.replicas.remove(told.old)
        if told.new is not None:
            self.replicas.append(told.new)


async def watch_all(nodes: list[SimNode], nursery: trio.Nursery) -> list[Watch]:
    """Track each of the keys where it lives."""
    watches = []

    async def follow(node: SimNode, key: str, *, task_status: trio.TaskStatus[Watch]) -> None:
        watch = Watch(node.name, key)
        async with node.node.track(key, replicas=1) as moves:
            task_status.started(watch)
            async for told in moves:
                watch.take(told)

    for key in KEYS:
        owner = next(node for node in nodes if node.node.owns(key))
        watches.append(await nursery.start(follow, owner, key))
    return watches


def check(cluster: SimCluster, watches: list[Watch]) -> int:
    """Every tracker on a node that runs is right about its key; how many have ended."""
    ended = 0
    for watch in watches:
        node = next(each for each in cluster.nodes if each.name == watch.node)
        if not node.running:
            continue
        if watch.moved:
            ended += 1
        else:
            assert node.node.owns(watch.key), f"{watch.node} was not told that {watch.key} moved"
            expected = [member.id for member in node.node.replicas(watch.key, 1)]
            assert [member.id for member in watch.replicas] == expected
    return ended


def test_a_join_moves_some_keys_and_every_owner_hears_of_its_own(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            nodes = await cluster.start(3, kv := service())
            await cluster.settled()
            watches = await watch_all(nodes, nursery)
            await cluster.start(1, kv)
            await cluster.settled()
            await trio.sleep(1)
            gone = [watch for watch in watches if watch.moved]
            assert len(gone) == check(cluster, watches) > 0
            assert {watch.key for watch in gone} == {key for key in KEYS if cluster.owner_of(key).name == "n4"}
            assert all(move.to is not None and move.to.name == "n4" for watch in gone for move in watch.moved)
            nursery.cancel_scope.cancel()

    run_simulation(scenario, seed=seed)


def test_a_crash_moves_no_key_of_the_living_and_replaces_their_replicas(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            nodes = await cluster.start(4, service())
            await cluster.settled()
            watches = [watch for watch in await watch_all(nodes, nursery) if watch.node != "n2"]
            nodes[1].crash()
            await cluster.settled()
            await trio.sleep(1)
            assert check(cluster, watches) == 0
            await nodes[1].restart()
            await cluster.settled()
            await trio.sleep(1)
            check(cluster, watches)
            assert all(move.to is not None and move.to.name == "n2" for watch in watches for move in watch.moved)
            nursery.cancel_scope.cancel()

    run_simulation(scenario, seed=seed)


def test_a_node_that_leaves_hears_where_each_of_its_keys_went(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            nodes = await cluster.start(3, service())
            await cluster.settled()
            watches = await watch_all(nodes, nursery)
            await nodes[0].drain()
            await cluster.settled()
            mine = [watch for watch in watches if watch.node == "n1"]
            assert mine
            for watch in mine:
                (moved,) = watch.moved
                assert moved.reason == "left"
                assert moved.to is not None
                assert moved.to.name == cluster.owner_of(watch.key).name
            check(cluster, watches)
            nursery.cancel_scope.cancel()

    run_simulation(scenario, seed=seed)


def test_after_a_partition_every_key_is_tracked_by_one_node_at_most(seed: int) -> None:
    """Both sides own all keys meanwhile; who has to give one back hears it."""

    async def scenario() -> None:
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            nodes = await cluster.start(5, service())
            await cluster.settled()
            with cluster.partition(nodes[:2], nodes[2:]):
                await trio.sleep(60)
                minority = await watch_all(nodes[:2], nursery)
                majority = await watch_all(nodes[2:], nursery)
            await cluster.settled()
            await trio.sleep(1)
            check(cluster, minority)
            check(cluster, majority)
            for one, other in zip(minority, majority, strict=True):
                assert one.moved or other.moved, one.key
            nursery.cancel_scope.cancel()

    run_simulation(scenario, seed=seed)


def test_a_key_tracked_while_it_moves_is_either_refused_or_told(seed: int) -> None:
    """Between looking the owner up and tracking there is no gap in which a move could be lost."""

    async def scenario() -> None:
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            (first, *_) = await cluster.start(2, kv := service())
            await cluster.settled()
            outcomes: set[str] = set()

            async def track(key: str) -> None:
                try:
                    async with first.node.track(key) as moves:
                        assert [move async for move in moves]
                        outcomes.add("told")
                except NotOwner:
                    outcomes.add("refused")

            async def keep_tracking() -> None:
                for number in range(400):
                    nursery.start_soon(track, f"k{number}")
                    await trio.sleep(0.005)

            async with trio.open_nursery() as inner:
                inner.start_soon(keep_tracking)
                await cluster.start(2, kv)
            await cluster.settled()
            await first.drain()
            assert outcomes == {"told", "refused"}

    run_simulation(scenario, seed=seed)
