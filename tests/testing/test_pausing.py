"""Nodes that are stopped or slow, in a cluster that goes on."""

from __future__ import annotations

import pytest
import trio

from swimring.errors import ConfigError, ConnectionLost
from swimring.service import Request, Service
from swimring.swim import Status
from swimring.testing import SimCluster, open_sim_cluster, run_simulation

app = Service("app")


@app.on("where", idempotent=True)
async def where(request: Request) -> str:
    return request.node.name


@app.on("nap")
async def nap(request: Request, seconds: float) -> float:
    await trio.sleep(seconds)
    return trio.current_time()


def test_a_paused_node_misses_its_timers_and_they_all_fire_when_it_goes_on(seed: int) -> None:
    async def scenario() -> tuple[float, float]:
        async with open_sim_cluster() as cluster:
            one, two = await cluster.start(2, app)
            await cluster.settled()
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    woke.append(await one.node.peer(two.name).call(nap, None, 1.0))

                woke: list[float] = []
                nursery.start_soon(ask)
                await trio.sleep(0.5)
                two.pause()
                await trio.sleep(2.5)
                resumed = trio.current_time()
                two.resume()
            return woke[0], resumed

    woke, resumed = run_simulation(scenario, seed=seed)
    assert woke == pytest.approx(resumed)


@pytest.mark.parametrize(("seconds", "suspected"), [(1.0, False), (3.0, False), (12.0, True)])
def test_a_short_pause_goes_unnoticed_and_a_long_one_is_taken_for_death(
    seed: int, seconds: float, *, suspected: bool
) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(10, app)
            await cluster.settled()
            nodes[3].pause()
            await trio.sleep(seconds)
            dead = {node.name for node in nodes if node is not nodes[3] and _dead(cluster, node.name)}
            assert bool(dead) == suspected
            nodes[3].resume()
            assert await cluster.settled() < 2.0
            failed = [
                event.text
                for node in cluster.nodes
                for event in cluster.history.events(node.name)
                if event.text.endswith("failed")
            ]
            assert set(failed) <= {"n4 failed"}

    run_simulation(scenario, seed=seed)


def _dead(cluster: SimCluster, name: str) -> set[str]:
    members = next(node for node in cluster.nodes if node.name == name).node.members
    return {member.name for member in members if member.status is Status.DEAD}


def test_a_paused_node_can_be_killed_and_starts_again(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(3, app)
            await cluster.settled()
            nodes[1].pause()
            assert repr(nodes[1]) == "<SimNode n2, paused>"
            await trio.sleep(1)
            nodes[1].crash()
            assert not nodes[1].running
            assert not nodes[1].paused
            await cluster.settled()
            await nodes[1].restart()
            await cluster.settled()
            assert await nodes[0].node.peer("n2").call(where) == "n2"

    run_simulation(scenario, seed=seed)


def test_only_a_running_node_can_be_paused(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            (one,) = await cluster.start(1, app)
            one.resume()
            one.crash()
            with pytest.raises(ConfigError, match="not running"):
                one.pause()

    run_simulation(scenario, seed=seed)


def test_a_slow_node_answers_late_and_says_how_late_it_is(seed: int) -> None:
    async def scenario() -> tuple[float, float, float | None]:
        async with open_sim_cluster() as cluster:
            one, two, *_ = await cluster.start(3, app)
            await cluster.settled()
            quick = await _time(one.node.peer(two.name).call(where))
            with two.slow(0.05):
                slow = await _time(one.node.peer(two.name).call(where))
                await trio.sleep(10)
                lag = one.node.lag(two.name)
                with pytest.raises(ConfigError, match="slow already"):
                    two.slow(0.1).__enter__()
            return quick, slow, lag

    async def _time(awaitable: object) -> float:
        began = trio.current_time()
        assert await awaitable == "n2"  # type: ignore[misc]
        return trio.current_time() - began

    quick, slow, lag = run_simulation(scenario, seed=seed)
    assert quick < 0.01
    assert slow > 0.1  # at least the task that reads and the one that runs the handler
    assert lag is not None
    assert lag >= 0.05


def test_connections_that_are_half_open_are_given_up_and_new_ones_carry_the_calls(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            one, two, *_ = await cluster.start(3, app)
            await cluster.settled()
            assert await one.node.peer("n2").call(where) == "n2"
            with cluster.half_open(one, two):
                began = trio.current_time()
                with pytest.raises(ConnectionLost, match="silent for 15 s"):
                    await one.node.peer("n2").call(where)
                assert trio.current_time() - began == pytest.approx(15, abs=10)
                assert await one.node.peer("n2").call(where) == "n2"
            await cluster.settled()

    run_simulation(scenario, seed=seed)
