"""Copies go where they belong, and are dropped only when those who should have them have said that they keep them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from swimring.identity import Fence
from swimring.ownership import Copy
from swimring.ownership.fences import MAX_FENCE
from swimring.ownership.spreading import BEHIND
from swimring.service import StateForm, Terms
from swimring.swim import Standing, Status
from tests.ownership.nodes import JOURNEY, One, member, open_nodes

PLACE = ("kv", b"k")


def copy(*, replicas: int) -> Copy:
    return Copy(place=PLACE, fence=Fence(7, "a"), sequence=1, replicas=replicas, state=b"s")


def holds(one: One) -> bool:
    return one.ownership.holdings.get(PLACE) is not None


@pytest.mark.parametrize("after", [0.0, 0.5 * JOURNEY, 1.5 * JOURNEY, 1.0])
async def test_two_nodes_that_take_each_other_for_the_owner_do_not_both_drop_the_copy(
    after: float, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_nodes("a", "b") as (a, b):
        for one in (a, b):
            one.ownership.holdings.put(copy(replicas=1))
        a.believe(a=0, b=1)
        await trio.sleep(after)
        b.believe(a=1, b=0)
        await trio.sleep(10)
        assert holds(a) or holds(b)
        b.believe(a=0, b=1)
        await trio.sleep(10)
        assert (holds(a), holds(b)) == (False, True)


async def test_a_copy_that_is_refused_for_the_promise_of_a_claim_alone_is_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b") as (a, b):
        a.ownership.holdings.put(copy(replicas=0))
        b.ownership.holdings.promise(PLACE, Fence(MAX_FENCE, "c"))  # so that no claim of b can succeed
        for one in (a, b):
            one.believe(a=0, b=1)
        await trio.sleep(10)
        assert holds(a)


async def test_a_copy_is_dropped_only_when_the_replicas_have_it_as_well(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b", "c") as (a, *others):
        names = a.rings.ring("kv").with_nodes({"b": 1, "c": 1}).owners(b"k", 2)
        owner, replica = sorted(others, key=lambda one: names.index(one.name))
        a.ownership.holdings.put(copy(replicas=1))
        replica.ownership.holdings.promise(PLACE, Fence(MAX_FENCE, "d"))
        for one in (a, owner, replica):
            one.believe(a=0, b=1, c=1)
        await trio.sleep(10)
        assert (holds(a), holds(owner), holds(replica)) == (True, True, False)
        replica.ownership.holdings.put(
            Copy(place=PLACE, fence=Fence(MAX_FENCE, "d"), sequence=0, replicas=1, state=b"s")
        )
        await trio.sleep(10)
        assert (holds(a), holds(owner), holds(replica)) == (False, True, True)


def lose_for_a_while(one: One, absent: str) -> None:
    """``one`` takes that member for dead, and keeps its place."""
    records = []
    for record in one.view.members:
        metadata = record.metadata.with_standing(Standing(hold=300))
        records.append(replace(record, metadata=metadata) if record.name == absent else record)
    one.rings.update(records)
    one.rings.flush()
    one.view.members = tuple(replace(one, status=Status.DEAD) if one.name == absent else one for one in records)
    one.rings.update(one.view.members)
    one.rings.flush()


async def test_what_was_checkpointed_while_a_member_was_taken_for_dead_is_brought_to_it_when_it_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b", "c") as nodes, trio.open_nursery() as nursery:
        by_name = {one.name: one for one in nodes}
        order = nodes[0].rings.ring("kv").owners(b"k", 3)
        owner, replica, third = (by_name[name] for name in order)
        opened, again = trio.Event(), trio.Event()

        async def count() -> None:
            async with owner.ownership.own("kv", b"k", StateForm(int, setting="test"), Terms(replicas=1)) as own:
                await own.checkpoint(1)
                opened.set()
                await again.wait()
                await own.checkpoint(2)
                await trio.sleep_forever()

        nursery.start_soon(count)
        await opened.wait()
        await trio.sleep(3)
        assert [holds(one) for one in (owner, replica, third)] == [True, True, False]
        for one in (owner, third):
            lose_for_a_while(one, replica.name)
        again.set()
        await trio.sleep(3)
        assert holds(third)
        for one in (owner, third):
            one.believe(a=1, b=1, c=1)  # the same life: it was silent, and has forgotten nothing
        await trio.sleep(3)
        kept = [one.ownership.holdings.get(PLACE) for one in (owner, replica)]
        assert [copy is not None and copy.sequence for copy in kept] == [2, 2]
        assert not holds(third)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("comes", [False, True])
async def test_copies_that_wait_for_a_place_that_is_kept_are_late_if_somebody_came_meanwhile(
    autojump_clock: trio.testing.MockClock, *, comes: bool
) -> None:
    async with open_nodes("a", "b", "c") as nodes:
        a = nodes[0]
        for one in nodes:
            one.believe(a=1, b=1, c=0)
        await trio.sleep(3)
        a.ownership.holdings.put(copy(replicas=1))
        lose_for_a_while(a, "b")
        if comes:
            a.view.members = tuple(member("c", 1) if one.name == "c" else one for one in a.view.members)
            a.rings.update(a.view.members)
            a.rings.flush()
        began = trio.current_time()
        with trio.move_on_after(100):
            await a.ownership.wait_behind(behind=True)
        assert trio.current_time() == pytest.approx(began + (BEHIND if comes else 100))
