"""Claims of many keys: they share messages, and each is answered as if it had been asked alone."""

from __future__ import annotations

from dataclasses import replace
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from swimring.codec import decode, encode
from swimring.errors import InvalidRequest
from swimring.identity import Fence
from swimring.ownership import Copy
from swimring.ownership.questions import ALONE, MAX_BYTES, REFUSED
from swimring.rpc import Outgoing
from swimring.service import Endpoint, Request, Service, StateForm, Terms
from swimring.swim import Standing
from tests.ownership.nodes import JOURNEY, One, member, open_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = [f"k{number}" for number in range(100)]
FORM = StateForm(bytes, setting="test")


class Held:
    """What one node opened: fences and states by key, until the test lets go."""

    def __init__(self, one: One, *, lingers: float = 0.0) -> None:
        self.fences: dict[str, Fence] = {}
        self.states: dict[str, bytes | None] = {}
        self.opened: dict[str, float] = {}
        self._one = one
        self._lingers = lingers

    async def hold(self, key: str) -> None:
        async with self._one.ownership.own("kv", key, FORM, Terms(budget=5.0)) as own:
            self.opened[key] = trio.current_time()
            self.states[key] = await own.restore()
            self.fences[key] = own.fence
            await own.checkpoint(f"{key} of {self._one.name}".encode())
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self._lingers)

    def hold_all(self, nursery: trio.Nursery, keys: Sequence[str]) -> None:
        for key in keys:
            nursery.start_soon(self.hold, key)


async def test_keys_that_are_opened_together_share_messages(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b", "c") as (a, b, c), trio.open_nursery() as nursery:
        for one in (a, b, c):
            one.believe(a=1, b=0, c=0)
        held = Held(a)
        held.hold_all(nursery, KEYS)
        await trio.sleep(1)
        assert len(held.fences) == len(KEYS)
        # To let go and to promise, one for the first key and one for those that came meanwhile.
        assert b.asked["claims"] <= 4
        assert b.asked["claim"] == 0
        nursery.cancel_scope.cancel()


async def test_keys_that_move_are_opened_when_the_last_owner_has_closed_them_and_go_on_with_its_state(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        for one in (a, b):
            one.believe(a=1, b=0)
        before, after = Held(a, lingers=2.0), Held(b)
        before.hold_all(nursery, KEYS)
        await trio.sleep(1)
        after.hold_all(nursery, KEYS)
        began = trio.current_time()
        for one in (a, b):
            one.believe(a=0, b=1)
        await trio.sleep(5)
        assert after.states == {key: f"{key} of a".encode() for key in KEYS}
        assert all(after.fences[key] > before.fences[key] for key in KEYS)
        assert min(after.opened.values()) >= began + 2.0  # nobody opens what still lingers
        assert a.asked["claim"] == len(KEYS)  # each waits on its own for what lingers
        nursery.cancel_scope.cancel()


async def test_keys_that_nothing_lingers_in_move_without_a_message_for_each(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        for one in (a, b):
            one.believe(a=1, b=0)
        before, after = Held(a), Held(b)
        before.hold_all(nursery, KEYS)
        await trio.sleep(1)
        for one in (a, b):
            one.believe(a=0, b=1)
        await trio.testing.wait_all_tasks_blocked()
        after.hold_all(nursery, KEYS)
        began = trio.current_time()
        await trio.sleep(5)
        assert after.states == {key: f"{key} of a".encode() for key in KEYS}
        assert max(after.opened.values()) < began + 12 * JOURNEY
        assert a.asked["claims"] <= 4
        nursery.cancel_scope.cancel()


async def test_who_knows_claims_only_one_by_one_is_asked_so(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        for one in (a, b):
            one.believe(a=1, b=0)
        b.forgets.add("claims")
        b.ownership.holdings.put(
            Copy(place=("kv", b"k1"), fence=Fence(7, "x"), sequence=1, replicas=0, state=encode(b"kept"))
        )
        held = Held(a)
        held.hold_all(nursery, KEYS[:3])
        await trio.sleep(1)
        assert held.states == {"k0": None, "k1": b"kept", "k2": None}
        nursery.cancel_scope.cancel()


async def test_who_is_refused_asks_again_until_the_rings_agree(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        a.believe(a=1, b=0)
        b.believe(a=0, b=1)
        held = Held(a)
        held.hold_all(nursery, KEYS)
        await trio.sleep(3)
        assert held.fences == {}
        assert 0 < b.asked["claims"] < 20  # after pauses that grow, all of them together
        b.believe(a=1, b=0)
        await trio.sleep(2)
        assert len(held.fences) == len(KEYS)
        nursery.cancel_scope.cancel()


async def test_who_is_gone_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b", "c") as (a, b, c), trio.open_nursery() as nursery:
        a.believe(a=1, b=0, c=0)
        for one in (b, c):
            one.believe(a=0, b=1, c=1)  # they refuse
        held = Held(a)
        held.hold_all(nursery, KEYS)
        await trio.sleep(3)
        assert held.fences == {}
        a.believe(a=1)
        await trio.sleep(2)
        assert len(held.fences) == len(KEYS)
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------------- one answer


async def claims(one: One, peer: str, *entries: list[Any]) -> list[Any]:
    (endpoint,) = (found for found in one.service.endpoints if found.cmd == "claims")
    assert isinstance(endpoint, Endpoint)
    answer: list[Any] = await endpoint(Request(node=None, peer=peer), claims=list(entries), records=[])  # type: ignore[arg-type]
    return answer


FAR = ("k4", b"old")
"""A key and its state, held by a node that no ring of ours would have it hold."""


def far_copy() -> Copy:
    return Copy(place=("kv", FAR[0].encode()), fence=Fence(1, "gone"), sequence=1, replicas=0, state=encode(FAR[1]))


def keep_far(one: One) -> None:
    one.ownership.holdings.put(far_copy())


async def bring_far(asker: One, name: str) -> None:
    """Have that node hold it, which then offers it to those who should."""
    fields = {"copies": [far_copy().to_wire()]}
    await asker.request_at(name, Outgoing("swimring", "replicate", None, fields, idempotent=True))


def around_far(nodes: Sequence[One]) -> tuple[list[One], list[One]]:
    """Those who are asked for it as a rule, its owner first, and those who are not."""
    by_name = {one.name: one for one in nodes}
    near = nodes[0].rings.ring("kv").owners(FAR[0].encode(), 4)
    return [by_name[name] for name in near], [by_name[name] for name in sorted(by_name.keys() - {*near})]


async def test_a_key_is_taken_for_a_new_one_only_when_everybody_was_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes(*ascii_lowercase[:9]) as nodes, trio.open_nursery() as nursery:
        (owner, *_near), far = around_far(nodes)
        for one in far:
            keep_far(one)
        held = Held(owner)
        nursery.start_soon(held.hold, FAR[0])
        await trio.sleep(1)
        assert held.states == {FAR[0]: FAR[1]}
        nursery.cancel_scope.cancel()


async def test_a_copy_is_taken_for_the_newest_only_when_everybody_was_asked_about_a_later_owner(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes(*ascii_lowercase[:9]) as nodes, trio.open_nursery() as nursery:
        (owner, replica, *_near), far = around_far(nodes)
        place = ("kv", FAR[0].encode())
        older = Copy(place=place, fence=Fence(1, "gone"), sequence=9, replicas=0, state=encode(b"older"))
        replica.ownership.holdings.put(older)
        replica.ownership.holdings.promise(
            place, Fence(2, "late")
        )  # an owner that has left; its replica is far from here
        newer = Copy(place=place, fence=Fence(2, "late"), sequence=1, replicas=0, state=encode(FAR[1]))
        far[0].ownership.holdings.put(newer)
        held = Held(owner)
        nursery.start_soon(held.hold, FAR[0])
        await trio.sleep(1)
        assert held.states == {FAR[0]: FAR[1]}
        nursery.cancel_scope.cancel()


async def test_after_a_partition_everybody_is_asked_also_if_an_older_copy_was_found(
    autojump_clock: trio.testing.MockClock,
) -> None:
    everybody = ascii_lowercase[:9]
    async with open_nodes(*everybody) as nodes, trio.open_nursery() as nursery:
        (owner, *_near), far = around_far(nodes)
        place = ("kv", FAR[0].encode())
        keep_far(owner)
        owner.believe(**dict.fromkeys(set(everybody) - {far[0].name}, 1))
        await trio.sleep(65)
        newer = Copy(place=place, fence=Fence(2, "late"), sequence=1, replicas=0, state=encode(b"newer"))
        far[0].ownership.holdings.put(newer)
        stateful = member(far[0].name, 1)
        stateful = replace(stateful, metadata=stateful.metadata.with_standing(Standing(stateful=True)))
        owner.rings.update((*owner.view.members, stateful))
        owner.rings.flush()
        held = Held(owner)
        nursery.start_soon(held.hold, FAR[0])
        await trio.sleep(1)
        assert held.states == {FAR[0]: b"newer"}
        nursery.cancel_scope.cancel()


async def test_who_is_named_is_asked_although_the_claimer_had_not_heard_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "m", "z") as (a, m, z), trio.open_nursery() as nursery:
        for one in (a, m):
            one.believe(a=0, m=1)
        z.believe(a=0, z=1)
        before, after = Held(m, lingers=2.0), Held(z)
        nursery.start_soon(before.hold, "k")
        await trio.sleep(5)
        assert before.states == {"k": None}
        z.believe(a=1, z=1)  # it joins just now, and so did the other one
        z.view.listens = True
        for one in (a, m):
            one.believe(a=0, m=0, z=1)
        z.believe(a=0, z=1)
        began = trio.current_time()
        after.hold_all(nursery, ["k"])
        await trio.sleep(5)
        assert after.states == {"k": b"k of m"}
        assert after.opened["k"] >= began + 2.0
        assert set(z.rings.snapshot.members) == {"a", "m", "z"}
        nursery.cancel_scope.cancel()


async def test_a_key_that_was_taken_for_a_new_one_and_only_read_gives_way_to_a_copy_that_turns_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes(*ascii_lowercase[:9]) as nodes, trio.open_nursery() as nursery:
        (owner, *_near), far = around_far(nodes)
        await trio.sleep(60)
        states: list[bytes | None] = []

        async def read_for_ever() -> None:
            while True:
                async with owner.ownership.own("kv", FAR[0], FORM, Terms()) as own:
                    states.append(await own.restore())
                    await trio.sleep_forever()

        nursery.start_soon(read_for_ever)
        await trio.sleep(1)
        assert states == [None]
        await bring_far(owner, far[0].name)
        await trio.sleep(5)
        assert states == [None, FAR[1]]
        assert far[0].ownership.holdings.get(("kv", FAR[0].encode())) is None  # nothing holds up its leaving
        nursery.cancel_scope.cancel()


async def test_a_key_that_was_taken_for_a_new_one_and_checkpointed_stays_what_it_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes(*ascii_lowercase[:9]) as nodes, trio.open_nursery() as nursery:
        (owner, *_near), far = around_far(nodes)
        await trio.sleep(60)
        held = Held(owner)
        nursery.start_soon(held.hold, FAR[0])
        await trio.sleep(1)
        fence = held.fences[FAR[0]]
        await bring_far(owner, far[0].name)
        await trio.sleep(5)
        assert [one.fence for one in owner.ownership.open_keys()] == [fence]
        assert far[0].ownership.holdings.get(("kv", FAR[0].encode())) is None
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("bringing", [False, True])
async def test_once_all_rings_of_the_last_minute_are_known_only_who_still_brings_copies_is_asked_besides(
    autojump_clock: trio.testing.MockClock, *, bringing: bool
) -> None:
    everybody = ascii_lowercase[:9]
    async with open_nodes(*everybody) as nodes, trio.open_nursery() as nursery:
        (owner, *_near), far = around_far(nodes)
        keep_far(far[0])
        await trio.sleep(60)
        if bringing:
            for one in nodes:
                one.bringing = (far[0].name,)
                one.believe(**dict.fromkeys(everybody, 1))
        held = Held(owner)
        nursery.start_soon(held.hold, FAR[0])
        await trio.sleep(1)
        assert held.states == {FAR[0]: FAR[1] if bringing else None}
        assert sum(one.asked["claims"] > 0 for one in nodes) == (4 if bringing else 3)
        nursery.cancel_scope.cancel()


async def test_who_fails_to_answer_is_not_taken_for_somebody_who_holds_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        for one in (a, b):
            one.believe(a=1, b=0)
        keep_far(b)
        b.fails = {"claim", "claims"}
        held = Held(a)
        nursery.start_soon(held.hold, FAR[0])
        await trio.sleep(10)
        assert not held.states
        b.fails.clear()
        await trio.sleep(5)
        assert held.states == {FAR[0]: FAR[1]}
        nursery.cancel_scope.cancel()


async def test_who_hands_a_key_over_is_asked_for_it_whatever_the_rings_say(
    autojump_clock: trio.testing.MockClock,
) -> None:
    everybody = ascii_lowercase[:9]
    async with open_nodes(*everybody) as nodes:
        (owner, *_near), far = around_far(nodes)
        await trio.sleep(60)
        keep_far(far[0])
        service: Service = Service("kv")
        owner.ownership.serve(service.own_keys(bytes))
        (inherit,) = (one for one in owner.service.endpoints if one.cmd == "inherit")
        assert isinstance(inherit, Endpoint)
        await inherit(Request(node=None, peer=far[0].name), keys=[["kv", FAR[0]]], records=[])  # type: ignore[arg-type]
        await trio.sleep(1)
        copy = owner.ownership.holdings.get(("kv", FAR[0].encode()))
        assert copy is not None
        assert copy.state == encode(FAR[1])


async def test_each_claim_has_an_answer_of_its_own() -> None:
    async with open_nodes("a", "b") as (a, _b):
        ring = a.rings.ring("kv")
        mine = next(key.encode() for key in KEYS if ring.lookup(key) == "a")
        theirs, other = [key.encode() for key in KEYS if ring.lookup(key) == "b"][:2]
        a.ownership.holdings.put(Copy(place=("kv", other), fence=Fence(7, "x"), sequence=2, replicas=1, state=b"s"))
        entries = [["kv", theirs, 9, None], ["kv", mine, 9, None], ["kv", other, 9, [7, "x", 1]]]
        answers, records = await claims(a, "b", *entries)
        assert answers[0] == [0, None, []]
        assert answers[1] == REFUSED
        assert answers[2] == [7, ["kv", other, 7, "x", 2, 1, b"s"], ["x"]]
        assert {record[0] for record in records} == {"a", "b"}
        assert a.ownership.holdings.promised(("kv", theirs)) == Fence(9, "b")
        assert a.ownership.holdings.promised(("kv", mine)) == Fence(0, "")


async def test_who_was_promised_last_is_named_however_many_have_owned_the_key() -> None:
    async with open_nodes("a") as (a,):
        for name in ascii_lowercase[1:21]:
            a.believe(**{name: 1})
        a.ownership.holdings.promise(("kv", b"k"), Fence(7, "x"))
        ((_, _, others),), _ = await claims(a, "u", ["kv", b"k", 0, None])
        assert len(others) == 16
        assert "x" in others


async def test_copies_that_fill_an_answer_are_asked_for_alone_and_nothing_is_promised_for_them() -> None:
    async with open_nodes("a") as (a,):
        a.believe(a=0, b=1)
        places = [("kv", key.encode()) for key in KEYS[:4]]
        for place in places:
            a.ownership.holdings.put(
                Copy(place=place, fence=Fence(7, "x"), sequence=1, replicas=0, state=bytes(MAX_BYTES // 3))
            )
        answers, _ = await claims(a, "b", *([*place, 9, None] for place in places))
        assert [answer if answer == ALONE else answer[0] for answer in answers] == [7, 7, ALONE, ALONE]
        assert [a.ownership.holdings.promised(place).number for place in places] == [9, 9, 7, 7]


@pytest.mark.parametrize(
    "entry",
    [
        [],
        ["kv", b"k", 2**63, None],
        ["kv", b"k", -1, None],
        ["kv", "k", 1, None],
        ["kv", b"k", 1, [1]],
        ["kv", b"k" * 1025, 1, None],
        7,
    ],
)
async def test_a_malformed_claim_is_refused_with_all_of_its_message(entry: Any) -> None:
    async with open_nodes("a") as (a,):
        a.believe(a=0, b=1)
        with pytest.raises(InvalidRequest):
            await claims(a, "b", ["kv", b"k", 5, None], entry)
        assert a.ownership.holdings.promised(("kv", b"k")) == Fence(0, "")


async def test_at_most_256_claims_are_taken_at_once() -> None:
    async with open_nodes("a") as (a,):
        with pytest.raises(InvalidRequest, match="256"):
            await claims(a, "b", *[["kv", b"k", 1, None]] * 257)


async def test_the_bytes_of_claims_are_those_of_the_specification(autojump_clock: trio.testing.MockClock) -> None:
    async with open_nodes("a", "b") as (a, b), trio.open_nursery() as nursery:
        key = next(letter for letter in ascii_lowercase if b.rings.ring("kv").lookup(letter) == "b")
        raw = key.encode()
        for one in (a, b):
            one.believe(a=1, b=0)
        b.ownership.holdings.put(
            Copy(place=("kv", raw), fence=Fence(7, "x"), sequence=1, replicas=0, state=encode(b"s"))
        )
        nursery.start_soon(Held(a).hold, key)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    close, promise = [one for one in b.said if one[0] == "claims"]
    record = encode(a.view.members[0].to_wire()).hex()
    assert close[1] == bytes.fromhex(
        f"a2 66 636c61696d73 81 84 62 6b76 41 {raw.hex()} 00 f6 67 7265636f726473 81 {record}"
    )
    assert close[2] == bytes.fromhex("82 81 83 07 f6 81 61 78 80")
    number = decode(promise[1])["claims"][0][2]
    assert decode(promise[1])["claims"] == [["kv", raw, number, None]]
    assert promise[2] == bytes.fromhex(f"82 81 83 07 87 62 6b76 41 {raw.hex()} 07 61 78 01 00 42 4173 81 61 78 80")
