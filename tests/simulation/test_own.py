"""`node.own`: a body that runs where its key lives, and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import NodeClosed, OwnershipLost
from swimring.service import Request, Service
from swimring.testing import SimCluster, current_seed, dice, open_sim_cluster, run_simulation

from .counters import one_owner_at_a_time

if TYPE_CHECKING:
    from swimring.node import Node
    from swimring.testing import SimNode


@dataclass
class Runs:
    """The state of a job: how often it ran."""

    count: int = 0


app = Service("jobs")


@app.on("ping")
async def ping(request: Request) -> str:
    return request.node.name


async def three(cluster: SimCluster) -> tuple[SimNode, list[SimNode]]:
    """The owner of the key ``job`` among three nodes, and the others."""
    nodes = await cluster.start(3, app)
    await cluster.settled()
    owner = cluster.owner_of("job", app)
    return owner, [node for node in nodes if node is not owner]


def test_a_job_runs_on_one_node_at_a_time_and_goes_on_where_it_was(seed: int) -> None:
    ran: list[tuple[str, int, int]] = []
    running: set[str] = set()

    async def cron(node: Node) -> None:
        while True:
            async with node.own("job", Runs, replicas=1) as own:
                state = await own.restore() or Runs()
                while True:
                    running.add(node.name)
                    try:
                        await trio.sleep(0.1)
                    finally:
                        running.discard(node.name)
                    state.count += 1
                    await own.checkpoint(state)
                    ran.append((node.name, state.count, own.fence.number))

    async def life(node: SimNode) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ignoring_the_end, cron, node.node)

    async def scenario() -> None:
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            nodes = await cluster.start(3, app)
            cluster.check(one_owner_at_a_time)
            for node in nodes:
                nursery.start_soon(life, node)
            await trio.sleep(3)
            for _ in range(2):
                owner = cluster.owner_of("job", app)
                assert running == {owner.name}
                await owner.drain()
                await owner.restart()
                nursery.start_soon(life, owner)
                await cluster.settled()
                await trio.sleep(2)
            nursery.cancel_scope.cancel()

    run_simulation(scenario, seed=seed)
    assert [count for _, count, _ in ran] == list(range(1, len(ran) + 1))
    fences = [fence for _, _, fence in ran]
    assert fences == sorted(fences)
    assert len(set(fences)) == len({*zip((name for name, _, _ in ran), fences, strict=True)}) >= 3


async def _ignoring_the_end(job: object, node: Node) -> None:
    try:
        await job(node)  # type: ignore[operator]
    except NodeClosed:
        pass


def test_the_body_is_cancelled_when_the_key_moves_and_may_still_checkpoint(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            owner, (other, _) = await three(cluster)
            ended: list[str | None] = []
            restored: list[Runs | None] = []

            async def first() -> None:
                async with owner.node.own("job", Runs) as own:
                    try:
                        assert own.moved is None
                        assert own.left == math.inf
                        await trio.sleep_forever()
                    finally:
                        assert 0 < own.left <= 1.0
                        await own.checkpoint(Runs(7))
                ended.append(own.moved)

            async def next_one(node: SimNode) -> None:
                async with node.node.own("job", Runs) as own:
                    restored.append(await own.restore())
                    nursery.cancel_scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(first)
                await trio.sleep(1)
                for node in cluster.running:
                    if node is not owner:
                        nursery.start_soon(next_one, node)
                await trio.sleep(1)
                assert restored == []
                await owner.drain()
                await trio.sleep(5)
            assert ended == ["moved"]
            assert restored == [Runs(7)]
            assert other.running

    run_simulation(scenario, seed=seed)


def test_a_body_that_does_not_end_within_the_budget_keeps_nothing_after_it(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            owner, others = await three(cluster)
            late: list[str] = []
            restored: list[Runs | None] = []

            async def stubborn() -> None:
                async with owner.node.own("job", Runs, budget=0.5) as own:
                    await own.checkpoint(Runs(1))
                    try:
                        await trio.sleep_forever()
                    finally:
                        with trio.CancelScope(shield=True):
                            await trio.sleep(5)
                            try:
                                await own.checkpoint(Runs(2))
                            except OwnershipLost:
                                late.append("refused")

            async def next_one(node: SimNode) -> None:
                async with node.node.own("job", Runs) as own:
                    restored.append(await own.restore())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(stubborn)
                await trio.sleep(1)
                began = trio.current_time()
                async with trio.open_nursery() as claims:
                    claims.start_soon(owner.node.drain)
                    with trio.move_on_after(4):
                        for node in others:
                            claims.start_soon(_one_of, next_one, node, restored)
                        while not restored:
                            await trio.sleep(0.1)
                    claims.cancel_scope.cancel()
                assert trio.current_time() - began < 3
            assert restored == [Runs(1)]
            assert late == ["refused"]

    run_simulation(scenario, seed=seed)


async def _one_of(claim: object, node: SimNode, found: list[Runs | None]) -> None:
    if not found:
        await claim(node)  # type: ignore[operator]


def test_what_the_body_raises_comes_out_and_the_key_can_be_owned_again(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            owner, _ = await three(cluster)
            fences = []
            for _ in range(2):
                with pytest.raises(ZeroDivisionError):
                    async with owner.node.own("job", Runs) as own:
                        fences.append(own.fence)
                        raise ZeroDivisionError
                assert own.moved is None
            assert fences[0] < fences[1]
            assert list(owner.node.ownership.open_keys()) == []

    run_simulation(scenario, seed=seed)


def test_a_task_that_is_cancelled_may_checkpoint_on_its_way_out(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            owner, _ = await three(cluster)
            with trio.move_on_after(1) as patience:
                async with owner.node.own("job", Runs, replicas=1) as own:
                    try:
                        await trio.sleep_forever()
                    finally:
                        await own.checkpoint(Runs(3))
            assert patience.cancelled_caught
            async with owner.node.own("job", Runs) as own:
                assert await own.restore() == Runs(3)

    run_simulation(scenario, seed=seed)


def test_a_second_block_for_a_key_waits_for_the_first(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            owner, _ = await three(cluster)
            order: list[str] = []

            async def body(name: str) -> None:
                async with owner.node.own("job", Runs):
                    order.append(f"{name} in")
                    await trio.sleep(dice(name, current_seed()).random())
                    order.append(f"{name} out")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(body, "a")
                nursery.start_soon(body, "b")
            assert order in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])

    run_simulation(scenario, seed=seed)


def test_waiting_for_a_key_ends_with_the_node(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            _owner, (other, _) = await three(cluster)
            raised: list[str] = []

            async def wait() -> None:
                try:
                    async with other.node.own("job", Runs):
                        raise AssertionError("it owns nothing")
                except NodeClosed as error:
                    raised.append(str(error))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.sleep(1)
                await other.drain()
            assert len(raised) == 1

    run_simulation(scenario, seed=seed)


def test_an_owner_that_slept_finds_its_scope_frozen(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            owner, _ = await three(cluster)
            why: list[str | None] = []

            async def body() -> None:
                async with owner.node.own("job", Runs) as own:
                    await trio.sleep_forever()
                why.append(own.moved)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(body)
                await trio.sleep(1)
                owner.pause()
                await trio.sleep(15)
                owner.resume()
            assert why == ["frozen"]

    run_simulation(scenario, seed=seed)
