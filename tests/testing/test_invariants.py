"""The rules that come with the kit, each kept and broken, and the moments at which rules are asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.service import Request, Service
from swimring.testing import (
    InvariantBroken,
    Record,
    SimCluster,
    SimNode,
    acknowledged_survive,
    each_node_trusts_itself,
    incarnations_come_from_their_owner,
    one_owner_per_fence,
    open_claims,
    open_sim_cluster,
    run_simulation,
    views_converge,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from swimring.node import Node

app = Service("app")


@app.on("where", idempotent=True)
async def where(request: Request) -> str:
    return request.node.name


@app.on("linger")
async def linger(request: Request, seconds: float) -> None:
    await trio.sleep(seconds)


def simulate(rule: Callable[[SimCluster], Awaitable[None]], *, seed: int = 1) -> None:
    async def main() -> None:
        async with open_sim_cluster() as cluster:
            await rule(cluster)

    try:
        run_simulation(main, seed=seed)
    except ExceptionGroup as error:
        broken, _ = error.split(InvariantBroken)
        while isinstance(broken, ExceptionGroup) and len(broken.exceptions) == 1:
            (broken,) = broken.exceptions  # type: ignore[assignment] # what is inside is no group
        raise broken or error from None


def test_rules_are_asked_when_a_fault_begins_or_ends_and_when_a_call_has_ended_and_every_second() -> None:
    async def rule(cluster: SimCluster) -> None:
        (one,) = await cluster.start(1, app)
        moments: list[float] = []

        def note(_cluster: SimCluster) -> Iterator[str]:
            moments.append(trio.current_time())
            yield from ()

        async def ask(node: Node, _number: int) -> str:
            return await node.call(where, "k")

        began = trio.current_time()
        cluster.check(note)
        await trio.sleep(2.5)
        assert moments == pytest.approx([began, 1, 2])
        with cluster.clock_skew(1, one):
            assert moments[3:] == [began + 2.5]
        assert moments[3:] == [began + 2.5] * 2
        async with cluster.load(ask, rate=100) as load:
            await trio.sleep(0.4)
        assert {record.began + record.latency for record in load.records} <= set(moments)
        assert len(load.records) > 10

    simulate(rule)


# -------------------------------------------------------------------------------------------------------- convergence


def test_it_is_quiet_while_nothing_is_done_and_no_fault_is_in_force() -> None:
    async def rule(cluster: SimCluster) -> None:
        one, two = await cluster.start(2, app)
        await trio.sleep(5)
        assert cluster.quiet_for == pytest.approx(5, abs=0.1)
        with cluster.loss(0.1):
            await trio.sleep(5)
            assert cluster.quiet_for == 0
        await trio.sleep(1)
        assert cluster.quiet_for == 1
        one.pause()
        await trio.sleep(1)
        assert cluster.quiet_for == 0
        one.resume()
        two.crash()
        await trio.sleep(1)
        assert cluster.quiet_for == pytest.approx(1)

    simulate(rule)


def test_views_converge_after_faults_of_all_kinds(seed: int) -> None:
    async def rule(cluster: SimCluster) -> None:
        cluster.check(views_converge(within=60), each_node_trusts_itself, incarnations_come_from_their_owner)
        nodes = await cluster.start(5, app)
        with cluster.partition(nodes[:2], nodes[2:]):
            await trio.sleep(100)
        nodes[4].freeze()
        await trio.sleep(100)
        await nodes[4].restart(data=False)
        await trio.sleep(100)
        assert cluster.disagreements() == []

    simulate(rule, seed=seed)


def test_views_that_do_not_converge_break_the_rule_when_it_has_been_quiet_for_long_enough() -> None:
    async def rule(cluster: SimCluster) -> None:
        nodes = await cluster.start(3, app)
        await cluster.settled()
        cluster.check(views_converge(within=10))
        with cluster.network.isolate(nodes[0].name):  # beneath the cluster, which does not know of it
            await trio.sleep(120)

    with pytest.raises(InvariantBroken) as broken:
        simulate(rule)
    assert broken.value.name == "views_converge"
    assert "n1 sees n1 and app on n1" in broken.value.wrong


# ------------------------------------------------------------------------------------------------ acknowledged writes


class Ledger:
    """What the handlers of this test have written, in memory of the test: the model."""

    def __init__(self) -> None:
        self.written: set[int] = set()

    async def write(self, node: Node, number: int) -> str:
        where_it_is = await node.call(where, f"key {number}")
        self.written.add(number)
        return where_it_is

    def holds(self, record: Record[str]) -> bool:
        return record.number in self.written


@pytest.mark.parametrize("loses", [False, True])
def test_an_acknowledged_write_that_is_gone_breaks_the_rule_at_that_moment(*, loses: bool) -> None:
    async def rule(cluster: SimCluster) -> None:
        ledger = Ledger()
        await cluster.start(2, app)
        await cluster.settled()
        async with cluster.load(ledger.write, rate=10) as load:
            cluster.check(acknowledged_survive(load, ledger.holds))
            await trio.sleep(5)
            if loses:
                ledger.written.discard(3)
            await trio.sleep(5)
        assert load.acknowledged > 50

    if not loses:
        simulate(rule)
        return
    with pytest.raises(InvariantBroken, match=r"call 3 of n\d was told 'n\d' at \d\.\d{3} s: gone") as broken:
        simulate(rule)
    assert 5 < broken.value.at < 8


def test_what_may_be_out_of_reach_for_a_while_is_asked_for_when_it_is_quiet() -> None:
    async def rule(cluster: SimCluster) -> None:
        ledger = Ledger()
        nodes = await cluster.start(2, app)
        await cluster.settled()
        async with cluster.load(ledger.write, rate=10) as load:
            cluster.check(acknowledged_survive(load, ledger.holds, quiet_for=2))
            await trio.sleep(5)
            with cluster.loss(0.01, nodes):
                ledger.written.discard(3)
                await trio.sleep(5)
                ledger.written.add(3)
            await trio.sleep(5)

    simulate(rule)


# ----------------------------------------------------------------------------------------------------------- ownership


@dataclass(frozen=True, kw_only=True)
class PlainClaim:
    service: str = "app"
    key: str
    fence: int
    owner: str


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([{"n1": [("k", 1)]}, {"n2": [("k", 2)]}], None),
        ([{"n1": [("k", 1)], "n2": [("k", 2)]}], None),
        ([{"n1": [("k", 1), ("other", 1)]}, {"n1": [("k", 1)]}], None),
        ([{"n1": [("k", 1)], "n2": [("k", 1)]}], "n2 claims 'k' of app with fence 1, which was n1's"),
        ([{"n2": [("k", 7)]}, {}, {"n1": [("k", 7)]}], "n1 claims 'k' of app with fence 7, which was n2's"),
    ],
    ids=["one after the other", "an old and a new fence", "its own again", "both at once", "a fence again"],
)
def test_a_fence_belongs_to_one_owner_for_ever(
    steps: list[dict[str, list[tuple[str, int]]]], wrong: str | None
) -> None:
    async def rule(cluster: SimCluster) -> None:
        await cluster.start(2, app)
        now: dict[str, list[tuple[str, int]]] = {}

        def claims(node: SimNode) -> Iterator[PlainClaim]:
            for key, fence in now.get(node.name, []):
                yield PlainClaim(key=key, fence=fence, owner=node.name)

        cluster.check(one_owner_per_fence(claims))
        for step in steps:
            now = step
            await trio.sleep(1.5)  # the rules are asked at every whole second

    if wrong is None:
        simulate(rule)
        return
    with pytest.raises(InvariantBroken) as broken:
        simulate(rule)
    assert broken.value.wrong == [wrong]


def test_by_default_a_node_claims_what_it_has_open() -> None:
    async def rule(cluster: SimCluster) -> None:
        owning = Service("owning")
        owning.own_keys(int)

        @owning.on("touch")
        async def touch(request: Request) -> str:
            return request.node.name

        one, two = await cluster.start(2, owning)
        await cluster.settled()
        cluster.check(one_owner_per_fence())
        keys = [f"k{number}" for number in range(20)]
        owners = {key: await one.node.call(touch, key) for key in keys}
        for node in (one, two):
            mine = {claim.key for claim in open_claims(node) if claim.owner == node.name}
            assert mine == {key.encode() for key in keys if owners[key] == node.name}
        await two.drain()
        assert {await one.node.call(touch, key) for key in keys} == {one.name}
        assert len(list(open_claims(one))) == len(keys)

    simulate(rule)


# ---------------------------------------------------------------------------------------------------------------- leaks


def test_nothing_is_left_when_all_calls_have_ended_and_what_is_left_is_told() -> None:
    async def rule(cluster: SimCluster) -> None:
        one, _two = await cluster.start(2, app)
        await cluster.settled()
        await one.node.peer("n2").call(linger, None, 1.0)
        await cluster.nothing_left()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.node.peer("n2").call, linger, None, 60.0)
            with pytest.raises(AssertionError, match=r"something is left:\n\s*n1: <Connection"):
                await cluster.nothing_left()
            nursery.cancel_scope.cancel()
        await cluster.nothing_left()

    simulate(rule)


def test_a_task_that_nobody_waits_for_is_told() -> None:
    async def rule(cluster: SimCluster) -> None:
        async def busy(_request: Any) -> None:
            await trio.sleep_forever()

        service = Service("lazy")
        service.on("forget")(busy)
        one, _two = await cluster.start(2, service)
        await cluster.settled()
        await one.node.peer("n2").cast({"ns": "lazy", "cmd": "forget"})
        with pytest.raises(AssertionError, match="n2: "):
            await cluster.nothing_left()

    simulate(rule)
