"""`node.own`: a body that runs where its key lives, and nowhere else."""

from __future__ import annotations

import contextlib
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

pytestmark = pytest.mark.costly


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


class Cron:
    """A job that always runs somewhere."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, int, int]] = []
        self.running: set[str] = set()

    async def on(self, node: Node) -> None:
        with contextlib.suppress(NodeClosed):
            while True:
                async with node.own("job", Runs, replicas=1) as own:
                    state = await own.restore() or Runs()
                    while True:
                        await self.work(node)
                        state.count += 1
                        await own.checkpoint(state)
                        self.ran.append((node.name, state.count, own.fence.number))

    async def work(self, node: Node) -> None:
        self.running.add(node.name)
        try:
            await trio.sleep(0.1)
        finally:
            self.running.discard(node.name)


def test_a_job_runs_on_one_node_at_a_time_and_goes_on_where_it_was(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            nodes = await cluster.start(3, app)
            cluster.check(one_owner_at_a_time)
            for node in nodes:
                nursery.start_soon(cron.on, node.node)
            await trio.sleep(3)
            for _ in range(2):
                owner = cluster.owner_of("job", app)
                assert cron.running == {owner.name}
                await owner.drain()
                await owner.restart()
                nursery.start_soon(cron.on, owner.node)
                await cluster.settled()
                await trio.sleep(2)
            nursery.cancel_scope.cancel()

    cron = Cron()
    run_simulation(scenario, seed=seed)
    assert [count for _, count, _ in cron.ran] == list(range(1, len(cron.ran) + 1))
    fences = [fence for _, _, fence in cron.ran]
    assert fences == sorted(fences)
    assert len({(name, fence) for name, _, fence in cron.ran}) == len(set(fences)) >= 3


class Heir:
    """Whoever owns the key next, and what it restores."""

    def __init__(self) -> None:
        self.restored: list[Runs | None] = []
        self.came = trio.Event()

    async def wait(self, node: SimNode) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_up, scope)
                async with node.node.own("job", Runs) as own:
                    self.restored.append(await own.restore())
                    self.came.set()

    async def _give_up(self, scope: trio.CancelScope) -> None:
        await self.came.wait()
        scope.cancel()


def test_the_body_is_cancelled_when_the_key_moves_and_may_still_checkpoint(seed: int) -> None:
    async def first(owner: SimNode, ended: list[str | None]) -> None:
        async with owner.node.own("job", Runs) as own:
            assert own.moved is None
            assert own.left == math.inf
            try:
                await trio.sleep_forever()
            finally:
                assert 0 < own.left <= 1.0
                await own.checkpoint(Runs(7))
        ended.append(own.moved)

    async def scenario() -> None:
        heir, ended = Heir(), list[str | None]()
        async with open_sim_cluster() as cluster:
            owner, others = await three(cluster)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first, owner, ended)
                await trio.sleep(1)
                for node in others:
                    nursery.start_soon(heir.wait, node)
                await trio.sleep(1)
                assert heir.restored == []
                await owner.drain()
                await heir.came.wait()
        assert ended == ["moved"]
        assert heir.restored == [Runs(7)]

    run_simulation(scenario, seed=seed)


def test_a_body_that_does_not_end_within_the_budget_keeps_nothing_after_it(seed: int) -> None:
    async def stubborn(owner: SimNode, late: list[str]) -> None:
        async with owner.node.own("job", Runs, budget=0.5) as own:
            await own.checkpoint(Runs(1))
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
                    with pytest.raises(OwnershipLost):
                        await own.checkpoint(Runs(2))
                    late.append("refused")

    async def scenario() -> None:
        heir, late = Heir(), list[str]()
        async with open_sim_cluster() as cluster:
            owner, others = await three(cluster)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stubborn, owner, late)
                await trio.sleep(1)
                for node in others:
                    nursery.start_soon(heir.wait, node)
                await trio.sleep(1)
                nursery.start_soon(owner.drain)
                with trio.fail_after(2):
                    await heir.came.wait()
        assert heir.restored == [Runs(1)]
        assert late == ["refused"]

    run_simulation(scenario, seed=seed)


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
