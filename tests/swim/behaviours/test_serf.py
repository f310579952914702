"""What the tests of hashicorp/serf assert, where no other test of ours says it; see docs/spec/conformance.md."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import trio

from swimring.codec import encode
from swimring.identity import NodeId
from swimring.swim import (
    REMEMBERED,
    Broadcast,
    Broadcasts,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    Metadata,
    Profile,
    Rumour,
    Status,
)
from tests.gossip.nodes import open_cluster, record_of, simulated
from tests.gossip.test_broadcasting import ears_of
from tests.swim.records import member, membership, rumour

ALIVE, SUSPECT, DEAD, LEFT = Status
LAN = Profile.lan()


def test_a_graceful_leave_is_joined_and_left_and_a_crash_joined_and_failed() -> None:
    for end, told in ((LEFT, MemberLeft), (DEAD, MemberFailed)):
        believes = membership()
        changes = [believes.apply(rumour(status, 5), now=1.0) for status in (ALIVE, end)]
        assert [type(event) for change in changes if change for event in change.events] == [MemberJoined, told]


def test_a_farewell_after_the_verdict_reclassifies_a_failure() -> None:
    believes = membership()
    changes = [believes.apply(rumour(status, 5), now=1.0) for status in (ALIVE, DEAD, LEFT)]
    told = [type(event) for change in changes if change for event in change.events]
    assert told == [MemberJoined, MemberFailed, MemberLeft]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_farewells_of_several_lives_in_any_order_stop_circulating(order: tuple[int, ...]) -> None:
    # Two nodes that hear everything from each other: each passes a rumour on only when it changed its record.
    one, two = membership("one"), membership("two")
    heard = [rumour(LEFT, 5), rumour(ALIVE, 1, generation=2), rumour(LEFT, 1, generation=2)]
    for index, believes in zip(order, (one, two, one), strict=True):
        believes.apply(heard[index], now=1.0)
    for _ in range(50):
        for teller, hearer in ((one, two), (two, one)):
            for each in teller.rumours.take(budget=10_000, limit=4, receiver=hearer.me.name):
                hearer.apply(each, now=2.0)
    assert len(one.rumours) == len(two.rumours) == 0


def test_the_queue_holds_one_rumour_per_member_however_often_it_changes() -> None:
    believes = membership(others=20)
    for incarnation in range(6, 60):
        for other in believes.others:
            believes.apply(Rumour(member=dataclasses.replace(other, incarnation=incarnation)), now=1.0)
    assert len(believes.rumours) == 20


def test_tombstones_of_the_left_are_forgotten_as_those_of_the_dead() -> None:
    believes = membership()
    for name, status in (("left", LEFT), ("dead", DEAD)):
        believes.apply(Rumour(member=member(name, status)), now=1.0)
    assert {each.name for each in believes.forget(now=1.0 + 24 * 3600 + 1)} == {"left", "dead"}
    assert [each.name for each in believes.members] == ["me"]


@simulated
async def test_a_member_that_failed_and_is_started_again_comes_back_without_a_join(seed: int) -> None:
    async with open_cluster() as cluster:
        a = await cluster.start("a", profile=Profile.local())
        b = await cluster.start("b", profile=Profile.local(), join=["a"])
        cluster.crash(b)
        await a.wait_sees({"b"}, DEAD)
        again = await cluster.start("b", profile=Profile.local(), generation=2)  # and it knows nobody
        await cluster.settle([a, again])
        assert a.recorder.statuses("b") == ["alive", "dead", "alive"] or a.recorder.statuses("b") == [
            "alive", "suspect", "dead", "alive",
        ]  # fmt: skip


@simulated
async def test_who_joins_again_after_its_leave_with_other_tags_shows_the_new_ones(seed: int) -> None:
    async with open_cluster() as cluster:
        a, b, c = await cluster.start_all(3, profile=LAN)
        await c.gossiper.leave()
        cluster.crash(c)
        await trio.sleep(1)
        again = await cluster.start("n2", generation=2, join=["n0"], metadata=Metadata(tags={"role": "new"}))
        await cluster.settle([a, b, again])
        assert record_of(b, "n2").metadata.tags == {"role": "new"}
        assert [status for status in b.recorder.statuses("n2") if status != "suspect"] == ["alive", "left", "alive"]


# ----------------------------------------------------------------------------------------------------- broadcasts


def said(time: int, payload: object = None) -> Broadcast:
    return Broadcast(time=time, origin=NodeId("bob", 1), name="n", encoded=encode(payload))


def test_an_old_broadcast_is_neither_told_nor_passed_on() -> None:
    broadcasts = Broadcasts()
    for time in range(10, 10 + REMEMBERED + 1):
        broadcasts.hear(said(time), members=3)
    while broadcasts.queue:
        broadcasts.queue.take(budget=100_000, limit=1)
    assert not broadcasts.hear(said(5), members=3)
    assert not broadcasts.queue


def test_broadcasts_of_one_time_with_other_payloads_are_told_once_each() -> None:
    broadcasts = Broadcasts()
    told = [broadcasts.hear(said(7, payload), members=3) for payload in ("a", "b", "a", "c", "b")]
    assert told == [True, True, False, True, False]
    assert broadcasts.clock.time == 8


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_all_queues_of_broadcasts_drain(order: tuple[int, ...]) -> None:
    # Two nodes that hear everything from each other: each passes on only what is new to it.
    one, two = Broadcasts(), Broadcasts()
    heard = [said(3), said(1), said(3, "other")]
    for index, node in zip(order, (one, two, one), strict=True):
        node.hear(heard[index], members=3)
    for _ in range(20):
        for teller, hearer in ((one, two), (two, one)):
            for each in teller.queue.take(budget=10_000, limit=4):
                hearer.hear(each, members=3)
    assert len(one.queue) == len(two.queue) == 0
    assert one.recap == two.recap


@simulated
async def test_who_starts_again_does_not_hear_old_broadcasts_and_is_heard_itself(seed: int) -> None:
    async with open_cluster() as cluster:
        a, b, c = await cluster.start_all(3, profile=LAN)
        for number in range(5):
            await c.gossiper.broadcast("n", number)
        await trio.sleep(5)
        cluster.crash(c)
        await a.wait_sees({"n2"}, DEAD)
        again = await cluster.start("n2", generation=2, join=["n0"])
        async with ears_of([a, b, again]) as ears:
            await cluster.settle([a, b, again])
            await again.gossiper.broadcast("n", "again")
            await trio.sleep(40)  # and a push-pull
            assert [ears.of(node) for node in (a, b, again)] == [["again"]] * 3
