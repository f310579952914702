"""Copies go where they belong, and are dropped only when those who should have them have said that they keep them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from swimring.identity import Fence
from swimring.ownership import Copy, HandOff, Progress, RingSnapshot
from swimring.ownership.fences import MAX_FENCE
from swimring.ownership.spreading import AT_ONCE, BEHIND, HEAD_START, MOST_AT_ONCE, _Change, batch_for
from swimring.ring import CIRCLE, HashRing, ring_seed
from swimring.service import Endpoint, Request, StateForm, Terms
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


def keep(one: One, count: int, *, state: bytes = b"s") -> None:
    """Put copies there that nobody else has."""
    for number in range(count):
        place = "kv", b"%d" % number
        one.ownership.holdings.put(Copy(place=place, fence=Fence(1, "x"), sequence=1, replicas=0, state=state))


def endpoint_of(one: One, cmd: str) -> Endpoint[..., Any]:
    (endpoint,) = (endpoint for endpoint in one.service.endpoints if endpoint.cmd == cmd)
    assert isinstance(endpoint, Endpoint)
    return endpoint


async def test_nothing_passes_for_brought_before_all_copies_were_compared_with_the_ring(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b") as (a, b):
        for one in (a, b):
            one.believe(a=1, b=0)
        await trio.sleep(1)
        keep(a, 20_000)
        for one in (a, b):
            one.believe(a=1, b=1)
        await endpoint_of(a, "brought")(Request(node=None, peer="b"))  # type: ignore[arg-type]
        ring = a.rings.ring("kv")
        assert {ring.lookup(copy.place[1]) for copy in a.ownership.holdings} == {"a"}


async def test_nothing_is_brought_in_the_first_moment_after_a_change_also_while_copies_are_compared_with_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b") as (a, b):
        await trio.sleep(1)
        keep(a, 20_000)
        for one in (a, b):
            one.believe(a=0, b=1)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert 0 < a.ownership.statistics().keys_left < 20_000
        await endpoint_of(a, "replicate")(Request(node=None, peer="b"), copies=[[*PLACE, 1, "x", 1, 0, b"s"]])  # type: ignore[arg-type]
        await trio.sleep(HEAD_START - JOURNEY)
        assert b.asked["offer"] == 0
        await trio.sleep(5 * JOURNEY)
        assert b.asked["offer"] > 0


async def test_what_is_on_its_way_is_among_what_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        keep(a, 600, state=bytes(2048))
        for one in (a, b):
            one.believe(a=0, b=1)
        progress = Progress()
        nursery.start_soon(a.ownership.hand_over, progress)
        told: list[tuple[HandOff, int]] = []
        async for now in progress.changes():
            told.append((now, 600 - len(b.ownership.holdings)))
            if now.total and not now.left:
                progress.finish()
        assert {now.total for now, _ in told[1:]} == {600}
        assert [(now.left, missing) for now, missing in told[1:] if now.left < missing] == []


async def test_a_batch_is_of_no_more_keys_for_members_that_take_none(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b", "c") as (a, b, c):
        idle = {f"idle{number}": 0 for number in range(100)}
        keep(a, 10_000)
        for one in (a, b):
            one.believe(a=0, b=1, c=0, **idle)
        await trio.sleep(HEAD_START + 0.1)
        for one in (a, c):
            one.believe(a=0, b=0, c=1, **idle)  # what is in the batch goes to b still
        await trio.sleep(10)
        assert b.asked["offer"] < 5
        assert c.asked["offer"] > 35


@pytest.mark.parametrize(("nodes", "keys"), [(1, AT_ONCE), (12, 6 * AT_ONCE), (100, MOST_AT_ONCE)])
def test_batches_grow_with_those_who_take_keys_up_to_a_bound(nodes: int, keys: int) -> None:
    ring = HashRing.build(dict.fromkeys(map(str, range(nodes)), 1), seed=ring_seed("test"), points=1)
    nobody = RingSnapshot(sequence=1, version="", members={}, offering={}, rings={})
    assert batch_for(nobody) == AT_ONCE
    assert batch_for(replace(nobody, rings={"kv": ring})) == keys


@given(st.integers(), st.lists(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([1, 2])), max_size=3))
def test_what_is_looked_up_for_neighbouring_keys_together_is_what_each_of_them_would_be_told(
    seed: int, nodes: list[dict[str, int]]
) -> None:
    empty = HashRing.build({}, seed=ring_seed(str(seed)), points=4)
    ring, *olds = (empty.with_nodes(dict(weights)) for weights in [{"a": 1, "b": 1, "c": 1}, *nodes])
    alone, together = (_Change(ring, [*olds, None], kept=kept) for kept in (0, CIRCLE))
    only = _Change(ring, olds, kept=CIRCLE)
    edges = {place % CIRCLE for one in (ring, *olds) for point in one.bounds for place in (point - 1, point, point + 1)}
    for place in sorted(edges | {0, CIRCLE - 1}):
        for count in (1, 3):
            now = ring.owners_at(place, count)
            assert alone.keepers_at(place, count) == together.keepers_at(place, count) == (now, True)
            assert only.keepers_at(place, count) == (now, any(old.owners_at(place, count) != now for old in olds))
