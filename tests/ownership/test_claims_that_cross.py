"""Claims while rings change under them: nobody is forgotten, nobody is promised too much, no copy stays behind."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from swimring.codec import register
from swimring.errors import Moved, Overloaded, OwnershipLost
from swimring.identity import Fence
from swimring.ownership import Copy, Verdict
from swimring.rpc import Outgoing
from swimring.service import KeyState, Service, StateForm, Terms
from tests.ownership.nodes import JOURNEY, One, open_nodes

PLACE = ("kv", b"k")
FORM = StateForm(str, setting="test")


def copy(*, replicas: int) -> Copy:
    return Copy(place=PLACE, fence=Fence(7, "a"), sequence=1, replicas=replicas, state=b"s")


def holds(one: One) -> bool:
    return one.ownership.holdings.get(PLACE) is not None


async def ask(asker: One, name: str, cmd: str, **fields: object) -> Any:
    return await asker.request_at(name, Outgoing("swimring", cmd, None, fields, idempotent=True))


async def own_until_late(one: One, opened: trio.Event) -> None:
    """A body that takes half a second to end, and then some."""
    async with one.ownership.own("kv", b"k", FORM, Terms(budget=0.5)) as own:
        await own.checkpoint("mine")
        opened.set()
        with trio.CancelScope(shield=True):
            await trio.sleep(2)


async def test_a_ring_that_lasted_for_a_moment_is_remembered(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b", "c", "d", "e") as everybody:
        order = everybody[0].rings.ring("kv").owners(b"k", 5)
        by_name = {one.name: one for one in everybody}
        first, last = by_name[order[0]], by_name[order[4]]
        last.ownership.holdings.put(copy(replicas=0))
        first.believe(**{name: int(name == last.name) for name in order})
        for one in everybody:
            one.believe(**{name: int(name == first.name) for name in order})
        await trio.testing.wait_all_tasks_blocked()
        async with first.ownership.own("kv", b"k", StateForm(int, setting="test"), Terms()):
            held = first.ownership.holdings.get(PLACE)
            assert held is not None
            assert held.state == b"s"


async def test_nothing_is_promised_to_who_lost_the_key_while_it_was_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b", "c") as (a, b, _c), trio.open_nursery() as nursery:
        a.believe(a=1, b=0, c=0)
        opened = trio.Event()
        nursery.start_soon(own_until_late, a, opened)
        await opened.wait()
        before = a.ownership.holdings.promised(PLACE)
        a.believe(a=0, b=1, c=0)
        claim = {"service": "kv", "subject": b"k", "number": before.number + 5, "have": None, "records": []}
        async with trio.open_nursery() as claiming:
            claiming.start_soon(_is_refused, b, claim)
            await trio.sleep(0.1)
            a.believe(a=0, b=0, c=1)
        assert a.ownership.holdings.promised(PLACE) == before


async def _is_refused(b: One, claim: dict[str, object]) -> None:
    with pytest.raises(Moved):
        await ask(b, "a", "claim", **claim)


async def test_the_copy_of_a_scope_that_was_superseded_is_dropped_where_it_does_not_belong(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        for one in (a, b):
            one.believe(a=1, b=0)
        opened = trio.Event()
        nursery.start_soon(own_until_late, a, opened)
        await opened.wait()
        b.ownership.holdings.put(_later_than(a))
        for one in (a, b):
            one.believe(a=0, b=1)
        await trio.sleep(0.2)
        assert holds(a)  # it is open still
        (verdict, *_rest), *_ = await ask(b, "a", "replicate", copies=[_later_than(a).to_wire()])
        assert verdict == Verdict.HELD
        assert list(a.ownership.open_keys()) == []
        await trio.sleep(5)
        assert (holds(a), holds(b)) == (False, True)


def _later_than(one: One) -> Copy:
    held = one.ownership.holdings.get(PLACE)
    number = 0 if held is None else held.fence.number
    return Copy(place=PLACE, fence=Fence(number + 5, "b"), sequence=0, replicas=0, state=b"s")


class Moody:
    """A type whose encoder fails."""


async def test_a_state_that_cannot_be_encoded_when_its_key_moves_ends_its_scope_and_nothing_else(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    fine = [True]

    def dump(_state: Moody) -> object:
        if not fine:
            raise KeyError("moody")
        return [1, 2]

    register(Moody, dump=dump, load=lambda _raw: Moody())
    app = Service("kv")
    owned = app.own_keys(Moody)
    async with open_nodes("a", "b") as (a, _b):
        a.believe(a=1, b=0)
        await a.ownership.run(owned, "k", _nothing, refuse=lambda: None, brief=True)
        assert len(list(a.ownership.open_keys())) == 1
        fine.clear()
        a.believe(a=0, b=1)
        await trio.sleep(0.1)
        assert list(a.ownership.open_keys()) == []
        assert "moody" in caplog.text


async def _nothing(_own: KeyState[Any]) -> None:
    await trio.lowlevel.checkpoint()


async def test_a_key_whose_callers_gave_up_before_it_opened_is_closed_when_it_was_idle(
    autojump_clock: trio.testing.MockClock,
) -> None:
    owned = Service("kv").own_keys(int, idle=JOURNEY)
    async with open_nodes("a", "b") as (a, b):
        for one in (a, b):
            one.believe(a=1, b=0)
        with trio.move_on_after(JOURNEY / 2) as patience:
            await a.ownership.run(owned, "k", _nothing, refuse=lambda: None, brief=True)
        assert patience.cancelled_caught
        await trio.sleep(1)
        assert a.ownership.holdings.promised(PLACE).owner == "a"  # it was open
        assert list(a.ownership.open_keys()) == []


@pytest.mark.parametrize("refuses", ["owner", "replica"])
async def test_a_promise_to_a_claim_that_was_given_up_does_not_keep_a_copy_from_those_who_should_have_it(
    refuses: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_nodes("a", "b", "c") as (a, *others):
        names = a.rings.ring("kv").with_nodes({"b": 1, "c": 1}).owners(b"k", 2)
        owner, replica = sorted(others, key=lambda one: names.index(one.name))
        a.ownership.holdings.put(copy(replicas=1))
        given_up = Fence(9, "d")
        (owner if refuses == "owner" else replica).ownership.holdings.promise(PLACE, given_up)
        for one in (a, owner, replica):
            one.believe(a=0, b=1, c=1)
        await trio.sleep(10)
        assert (holds(a), holds(owner), holds(replica)) == (False, True, True)
        for one in others:
            held = one.ownership.holdings.get(PLACE)
            assert held is not None
            assert (held.state, held.replicas) == (b"s", 1)
            assert held.fence > given_up
        assert [list(one.ownership.open_keys()) for one in others] == [[], []]


async def test_several_nodes_may_have_to_be_asked_alone_for_one_key(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b", "c") as (a, *others):
        for one in (a, *others):
            one.believe(a=1, b=0, c=0)
        for sequence, one in enumerate(others):
            one.ownership.holdings.put(
                Copy(place=PLACE, fence=Fence(7, "x"), sequence=sequence + 1, replicas=2, state=b"s" * 300_000)
            )
        async with a.ownership.own("kv", b"k", FORM, Terms(replicas=2)):
            held = a.ownership.holdings.get(PLACE)
            assert held is not None
            assert len(held.state) == 300_000
        assert [one.asked["claim"] for one in others] == [1, 1]


async def test_a_body_that_outlives_the_farewell_of_its_node_keeps_nothing_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b") as (a, b):
        for one in (a, b):
            one.believe(a=1, b=0)
        async with a.ownership.own("kv", b"k", FORM, Terms(budget=60.0)) as own:
            await own.checkpoint("before")
            with trio.CancelScope(shield=True):
                a.believe(a=0, b=1)
                await trio.sleep(1)
                await own.checkpoint("still within the budget")
                a.ownership.close()
                with pytest.raises(OwnershipLost):
                    await own.checkpoint("after")
        assert own.moved == "moved"


async def test_a_checkpoint_that_no_replica_has_room_for_fails_and_does_not_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b", "c") as (a, *others):
        for one in (a, *others):
            one.believe(a=1, b=1, c=1)
        by_name = {one.name: one for one in (a, *others)}
        owner, *replicas = (by_name[name] for name in a.rings.ring("kv").owners(b"k", 3))
        async with owner.ownership.own("kv", b"k", FORM, Terms(replicas=1)) as own:
            fill(replicas[0])
            await own.checkpoint("with the other one")
            assert [holds(one) for one in replicas] == [False, True]
            fill(replicas[1])
            with pytest.raises(Overloaded, match="no replica has room"):
                await own.checkpoint("x" * 100_000)
            assert replicas[0].asked["replicate"] <= 3


def fill(one: One) -> None:
    """Leave no room for another copy; they share one state."""
    state, number = bytes(512 * 1024), 0
    while (
        one.ownership.holdings.put(
            Copy(place=("full", b"%d" % number), fence=Fence(1, "x"), sequence=1, replicas=0, state=state)
        )
        is Verdict.HELD
    ):
        number += 1
    while (
        one.ownership.holdings.put(
            Copy(place=("full", b"%d" % number), fence=Fence(1, "x"), sequence=1, replicas=0, state=b"")
        )
        is Verdict.HELD
    ):
        number += 1


async def test_a_claim_ends_when_its_key_has_moved_however_many_copies_are_compared_with_the_rings_meanwhile(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        for number in range(100_000):
            place = "kv", b"%d" % number
            a.ownership.holdings.put(Copy(place=place, fence=Fence(1, "x"), sequence=1, replicas=0, state=b"\x00"))
        a.believe(a=1, b=0)
        await trio.sleep(1)
        b.fails = {"claim", "claims"}
        nursery.start_soon(own_until_late, a, trio.Event())
        await trio.sleep(1)
        assert a.ownership.statistics().scopes == 1  # it is being claimed
        a.believe(a=1, b=1)  # every copy has to be looked at
        await turns(5)
        a.believe(a=0, b=1)
        await turns(10)
        assert a.ownership.statistics().keys_left < 30_000, "they were all looked at before"
        assert a.ownership.statistics().scopes == 0
        nursery.cancel_scope.cancel()


async def turns(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()
