"""Broadcasts and queries in clusters that lose packets, members and each other."""

from __future__ import annotations

import dataclasses
from collections import Counter

import trio

from swimring.errors import CallError
from swimring.service import Request, Service
from swimring.swim import Profile
from swimring.testing import open_sim_cluster, run_simulation
from tests.gossip.nodes import open_cluster, simulated
from tests.gossip.test_broadcasting import ears_of, queued

LAN = Profile.lan()
OFTEN = dataclasses.replace(LAN, push_pull_interval=5)
RARELY = dataclasses.replace(LAN, push_pull_interval=3600)


@simulated
async def test_broadcasts_reach_all_of_thirty_members_once_each_through_loss(seed: int) -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(30, profile=OFTEN)
        async with ears_of(nodes) as ears:
            with cluster.network.loss(0.2):
                for number in range(20):
                    await nodes[number].gossiper.broadcast("n", number)
                    await trio.sleep(0.1)
                await trio.sleep(12)  # two exchanges of each: what gossip lost for good is recalled
            await trio.sleep(6)
            for node in nodes:
                assert sorted(ears.of(node)) == list(range(20)), node.name
        assert queued(*nodes) == 0


@simulated
async def test_gossip_alone_brings_a_broadcast_to_thirty_members_in_two_seconds(seed: int) -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(30, profile=RARELY)
        await trio.sleep(10)
        async with ears_of(nodes) as ears:
            await nodes[0].gossiper.broadcast("n", 1)
            await trio.sleep(2)
            assert sum(ears.of(node) == [1] for node in nodes) >= 29  # gossip may lose its last listener
            await trio.sleep(10)
        assert queued(*nodes) == 0


@simulated
async def test_what_was_said_in_a_partition_is_heard_on_both_sides_after_it(seed: int) -> None:
    async with open_cluster() as cluster:
        nodes = [
            await cluster.start(f"n{number}", profile=LAN, seeds=["n0"], join=["n0"] if number else [])
            for number in range(8)
        ]
        await cluster.settle(nodes)
        async with ears_of(nodes) as ears:
            with cluster.network.partition([f"n{n}" for n in range(4)], [f"n{n}" for n in range(4, 8)]):
                for number in range(10):
                    await nodes[number % 8].gossiper.broadcast("n", number)
                    await trio.sleep(6)  # long enough that the sides take each other for dead
            await cluster.settle(nodes)
            await trio.sleep(60)
            for node in nodes:
                assert sorted(ears.of(node)) == list(range(10)), node.name
        assert queued(*nodes) == 0


def naming() -> Service:
    service = Service("naming")

    @service.on("name", idempotent=True)
    async def name(request: Request, after: float) -> str:
        await trio.sleep(after)
        return request.node.name

    return service


def test_a_query_under_crashes_and_a_partition_has_one_answer_or_reason_for_each_member(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            asker, *others = await cluster.start(8, naming())
            await cluster.settled()
            said: Counter[str] = Counter()
            values: list[str] = []
            with trio.fail_after(60):
                async with (
                    asker.node.query("name", {"after": 1.0}) as answers,
                    trio.open_nursery() as nursery,
                ):

                    async def break_things() -> None:
                        await trio.sleep(0.5)
                        others[0].crash()
                        others[1].freeze()
                        with cluster.partition([asker, *others[:3]], others[3:5]):
                            await trio.sleep(30)

                    nursery.start_soon(break_things)
                    async for answer in answers:
                        said[answer.member] += 1
                        if answer.error is None:
                            assert answer.value == answer.member
                            values.append(answer.member)
                        else:
                            assert isinstance(answer.error, CallError)
            assert said == {f"n{number}": 1 for number in range(1, 9)}
            assert {"n1", "n4", "n7", "n8"} <= set(values)
            assert not {"n2", "n3"} & set(values)
            await cluster.settled()
            with trio.fail_after(10):
                async with asker.node.query("name", {"after": 0.0}) as answers:
                    assert sorted([answer.value async for answer in answers]) == [node.name for node in cluster.running]

    run_simulation(scenario, seed=seed)
