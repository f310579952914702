"""The rule that every cluster has from the start: nothing leaks. Each kind is planted, and found at its moment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.identity import Address
from swimring.mux.calls import CallState, _Call
from swimring.service import Request, Service
from swimring.testing import InvariantBroken, SimCluster, nothing_leaks, open_sim_cluster, run_simulation
from swimring.testing.leftovers import doors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from swimring.node import Node
    from swimring.rpc.connection import Connection
    from swimring.testing import Invariant, SimNode

app = Service("app")


@app.on("where", idempotent=True)
async def where(request: Request) -> str:
    return request.node.name


@app.on("hang on")
async def hang_on(request: Request, seconds: float) -> None:
    """Does not end with its call."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


def simulate(rule: Callable[[SimCluster], Awaitable[None]], *, rules: Iterable[Invariant] | None = None) -> None:
    async def main() -> None:
        async with open_sim_cluster(rules=rules) as cluster:
            await rule(cluster)

    run_simulation(main, seed=1)


def broken_by(
    rule: Callable[[SimCluster], Awaitable[None]], *, rules: Iterable[Invariant] | None = None
) -> InvariantBroken:
    """What the rule says that ``rule`` breaks."""
    with pytest.raises((InvariantBroken, ExceptionGroup)) as failure:
        simulate(rule, rules=rules)
    error: BaseException = failure.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, InvariantBroken)
    assert error.name == "nothing_leaks"
    return error


def connection_between(one: SimNode, other: SimNode) -> Connection:
    return next(each for each in doors(one)[0].connections if each.peer_name == other.name)


# -------------------------------------------------------------------------------------------- what a node leaves behind


def test_a_task_that_outlives_its_node_is_found_at_the_moment_the_node_has_left() -> None:
    moments: list[float] = []

    async def rule(cluster: SimCluster) -> None:
        async with trio.open_nursery() as nursery:

            async def beside(_node: Node) -> None:
                nursery.start_soon(trio.sleep_forever)

            one, _two = await cluster.start(2, app, beside=beside)
            await cluster.settled()
            await one.drain()
            moments.append(trio.current_time())
            await trio.sleep_forever()

    error = broken_by(rule)
    assert error.at == pytest.approx(moments[0])
    assert len(error.wrong) == 1
    assert "n1 has ended, and its task trio.sleep_forever (" in error.wrong[0]


def test_a_task_that_a_handler_gave_away_is_found_at_the_moment_its_node_was_killed() -> None:
    moments: list[float] = []

    async def rule(cluster: SimCluster) -> None:
        async with trio.open_nursery() as nursery:
            service = Service("later")

            @service.on("do")
            async def do(_request: Request) -> None:
                nursery.start_soon(trio.sleep, 60)

            one, two = await cluster.start(2, service)
            await two.node.peer("n1").call(do)
            two.crash()
            await trio.sleep(1)
            one.crash()
            moments.append(trio.current_time())
            await trio.sleep(30)

    error = broken_by(rule)
    assert error.at == pytest.approx(moments[0])
    assert "n1 has ended, and its task trio.sleep (" in error.wrong[0]


def test_a_listener_that_outlives_its_node_is_found_when_it_has_left_and_not_when_it_was_killed() -> None:
    async def open_another(cluster: SimCluster) -> list[SimNode]:
        async def beside(node: Node) -> None:
            await cluster.network.at(node.name).bind(Address(node.name, 8080))

        return await cluster.start(2, app, beside=beside)

    async def leaves(cluster: SimCluster) -> None:
        one, _two = await open_another(cluster)
        await one.drain()

    async def is_killed(cluster: SimCluster) -> None:
        one, _two = await open_another(cluster)
        one.crash()
        await one.restart()
        await cluster.settled()

    error = broken_by(leaves)
    assert any("n1 has left, and has not closed <SimulatedListener n1:8080 open>" in what for what in error.wrong)
    simulate(is_killed)


def test_what_is_left_when_the_cluster_ends_is_found_then() -> None:
    """A task of the system ends with the run at the earliest, whoever started it."""

    async def rule(cluster: SimCluster) -> None:
        async def beside(node: Node) -> None:
            trio.lowlevel.spawn_system_task(trio.sleep_forever, context=trio.lowlevel.current_task().context.copy())

        await cluster.start(1, app, beside=beside)

    assert "n1 has ended, and its task" in broken_by(rule).wrong[0]


def test_a_killed_node_whose_tasks_shield_themselves_is_found_after_the_grace() -> None:
    async def rule(cluster: SimCluster) -> None:
        async def beside(_node: Node) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

        one, _two = await cluster.start(2, app, beside=beside)
        await cluster.settled()
        one.crash()
        await trio.sleep(50)

    error = broken_by(rule)
    assert 5 <= error.at <= 7
    assert any("n1 was killed at 0." in what and "beside" in what for what in error.wrong)


# ------------------------------------------------------------------------------------------------- what calls leave


def test_a_handler_that_outlives_its_call_is_found_after_the_grace() -> None:
    moments: list[float] = []

    async def rule(cluster: SimCluster) -> None:
        one, _two = await cluster.start(2, app)
        await cluster.settled()
        with trio.move_on_after(3):
            await one.node.peer("n2").call(hang_on, None, 60.0)
        moments.append(trio.current_time())
        await trio.sleep(30)

    error = broken_by(rule)
    assert 5 <= error.at - moments[0] <= 6.1
    assert "a call of n1 to n2 has ended, and its handler still runs since " in error.wrong[0]


def test_a_handler_that_ends_within_the_grace_is_no_leak() -> None:
    async def rule(cluster: SimCluster) -> None:
        one, _two = await cluster.start(2, app)
        await cluster.settled()
        for seconds in (1.0, 3.0):
            with trio.move_on_after(0.1):
                await one.node.peer("n2").call(hang_on, None, seconds)
        await one.node.peer("n2").call(hang_on, None, 60.0)
        with cluster.latency(2, 4):
            for _ in range(5):
                with trio.move_on_after(1):
                    await one.node.peer("n2").call(hang_on, None, 5.0)

    simulate(rule)


def plant_call(one: Connection, _other: Connection) -> None:
    """As if the table of calls had been forgotten to be tidied: at one end only."""
    one.session._calls._made_there[9_999] = _Call(0, CallState.RUNNING)
    one.session._line.open_there += 1


def plant_stream(one: Connection, other: Connection) -> None:
    """A stream at both ends, and nobody who reads or writes it at either."""
    for end, number in ((one, "open_here"), (other, "open_there")):
        end.session._streams.announce([9_999])
        setattr(end.session._line, number, getattr(end.session._line, number) + 1)


def plant_half_a_stream(one: Connection, _other: Connection) -> None:
    """A stream that one end reads, and the other does not know."""
    one.session._streams.announce([9_999])
    one.session._line.open_here += 1
    one.attach(9_999, "planted")


@pytest.mark.parametrize(
    ("plant", "text"),
    [
        (plant_call, "n1 has a call of n2 that no task serves since"),
        (plant_stream, "has a stream with n. that no task reads or writes since"),
        (plant_half_a_stream, "n1 has a call or a stream with n2, which does not know of it since"),
    ],
    ids=["call", "stream", "half a stream"],
)
def test_a_call_or_stream_that_stays_is_found_after_the_grace(
    plant: Callable[[Connection, Connection], None], text: str
) -> None:
    moments: list[float] = []

    async def rule(cluster: SimCluster) -> None:
        one, two = await cluster.start(2, app)
        await cluster.settled()
        await one.node.peer("n2").call(where)
        plant(connection_between(one, two), connection_between(two, one))
        moments.append(trio.current_time())
        await trio.sleep(60)

    error = broken_by(rule)
    assert 5 <= error.at - moments[0] <= 6.1
    assert any(re.search(text, what) for what in error.wrong)


def test_calls_streams_crashes_and_restarts_in_any_number_are_no_leaks(seed: int) -> None:
    async def ask(node: Node, number: int) -> str:
        with trio.move_on_after(0.001 if number % 3 else 10):
            return await node.call(where, f"key {number}")
        return ""

    async def main() -> None:
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(4, app)
            await cluster.settled()
            async with cluster.load(ask, rate=50):
                with cluster.partition(nodes[:2], nodes[2:]):
                    await trio.sleep(20)
                await trio.sleep(10)
                nodes[1].freeze()
                await trio.sleep(30)
                await nodes[1].restart()
                nodes[2].pause()
                await trio.sleep(20)
                nodes[2].resume()
                await nodes[3].drain()
                await trio.sleep(10)

    run_simulation(main, seed=seed)


# ------------------------------------------------------------------------------------------------------- too many tasks


def test_more_tasks_than_a_node_may_have_are_found_when_the_next_call_has_ended() -> None:
    async def rule(cluster: SimCluster) -> None:
        async def beside(_node: Node) -> None:
            async with trio.open_nursery() as nursery:
                service.nursery = nursery
                await trio.sleep_forever()

        class Forgetful(Service):
            nursery: trio.Nursery

        service = Forgetful("forgetful")

        @service.on("note")
        async def note(request: Request) -> None:
            service.nursery.start_soon(trio.sleep_forever)

        async def ask(node: Node, number: int) -> None:
            await node.call(note, f"key {number}")

        await cluster.start(1, service, beside=beside)
        async with cluster.load(ask, rate=50):
            await trio.sleep(30)

    error = broken_by(rule, rules=[nothing_leaks(tasks=200)])
    assert error.at < 10
    assert "n1 has " in error.wrong[0]
    assert "of them trio.sleep_forever (" in error.wrong[0]


def test_a_cluster_can_do_without_the_rule() -> None:
    async def rule(cluster: SimCluster) -> None:
        one, _two = await cluster.start(2, app)
        await cluster.settled()
        with trio.move_on_after(3):
            await one.node.peer("n2").call(hang_on, None, 60.0)
        await trio.sleep(30)

    simulate(rule, rules=())
