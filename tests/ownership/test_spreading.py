"""A copy is dropped only when those who should have it have said that they keep it, by their own rings."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from swimring.identity import Fence
from swimring.ownership import Copy
from swimring.ownership.fences import MAX_FENCE
from tests.ownership.nodes import JOURNEY, One, open_nodes

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
