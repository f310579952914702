"""Who may still hold a key: those who owned it in the rings of the last while, and those behind them."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from swimring.identity import Address
from swimring.ownership.past import MAX_RINGS, UNSETTLED, PastRings
from swimring.ownership.rebalancer import RingSnapshot
from swimring.ring import HashRing, ring_seed
from swimring.swim import Member, Metadata, Standing, Status

if TYPE_CHECKING:
    from collections.abc import Sequence


def ring(*names: str) -> HashRing:
    return HashRing.build(dict.fromkeys(names, 1), seed=ring_seed("test"), points=16)


def member(name: str) -> Member:
    metadata = Metadata(services=("kv",)).with_standing(Standing(stateful=True))
    address = Address("10.0.0.1", 7979)
    return Member(name=name, address=address, generation=1, incarnation=0, status=Status.ALIVE, metadata=metadata)


def snapshot(one: HashRing, *, stateful: Sequence[str] = ()) -> RingSnapshot:
    members = {name: member(name) for name in stateful}
    return RingSnapshot(sequence=1, version="v", members=members, offering={}, rings=MappingProxyType({"kv": one}))


def test_who_owned_the_key_before_is_asked_and_so_are_its_replicas() -> None:
    past = PastRings(now=0.0)
    before, after = ring("a", "b", "c", "d", "e"), ring("a", "b", "c", "d", "e", "f", "g")
    past.note(snapshot(before), now=0.0)
    past.note(snapshot(after), now=1.0)
    for key in (f"k{number}" for number in range(50)):
        assert past.owners("kv", key)[0] == after.lookup(key)
        assert {before.lookup(key), after.lookup(key)} <= set(past.owners("kv", key))
        assert {*before.owners(key, 2), *after.owners(key, 2)} <= set(past.holders("kv", key, 1))


def test_a_node_that_knows_no_earlier_ring_asks_the_next_on_the_circle() -> None:
    past = PastRings(now=0.0)
    with_us, before = ring("a", "b", "c", "new"), ring("a", "b", "c")
    past.note(snapshot(with_us), now=0.0)
    ours = [key for key in (f"k{number}" for number in range(100)) if with_us.lookup(key) == "new"]
    assert ours
    assert all(before.lookup(key) in past.owners("kv", key) for key in ours)


def test_nodes_that_come_at_once_ask_past_each_other_for_those_who_had_state_before() -> None:
    many = [f"new{number}" for number in range(9)]
    with_all, before = ring("a", "b", "c", *many), ring("a", "b", "c")
    past = PastRings(now=0.0)
    past.note(snapshot(with_all, stateful=("a", "b", "c")), now=0.0)
    for key in (f"k{number}" for number in range(100)):
        assert before.lookup(key) in past.owners("kv", key)
        assert set(before.owners(key, 2)) <= set(past.holders("kv", key, 1))
    past.note(snapshot(before), now=1.0)
    assert all(before.lookup(key) in past.owners("kv", key) for key in ("k1", "k2", "k3"))


def test_nobody_is_asked_in_vain_where_nobody_had_state() -> None:
    past, fresh = PastRings(now=0.0), ring("a", "b", "c", "d", "e")
    past.note(snapshot(fresh), now=0.0)
    assert {len(past.owners("kv", f"k{number}")) for number in range(20)} == {2}
    assert {len(past.holders("kv", f"k{number}", 1)) for number in range(20)} == {3}


def test_the_memory_is_bounded() -> None:
    past = PastRings(now=0.0)
    for number in range(3 * MAX_RINGS):
        past.note(snapshot(ring(f"old{number}")), now=0.0)
    assert len(past.holders("kv", "k", 0)) == MAX_RINGS


def test_of_large_rings_fewer_are_remembered() -> None:
    past = PastRings(now=0.0)
    large = {f"n{number}": 1.0 for number in range(1_000)}
    for number in range(20):
        one = HashRing.build({f"old{number}": 1.0, **large}, seed=ring_seed("test"), points=50)
        past.note(snapshot(one), now=float(number))
    assert not past.reaches_back("kv", now=UNSETTLED + 3.9)  # 16 of 50,050 points each
    assert past.reaches_back("kv", now=UNSETTLED + 4.1)


def test_rings_that_come_back_are_remembered_once() -> None:
    past, always = PastRings(now=0.0), ring("a", "b", "c")
    for number in range(MAX_RINGS):
        past.note(snapshot(always), now=2.0 * number)
        past.note(snapshot(ring("a", "b", "c", f"d{number % 4}")), now=2.0 * number + 1)
    assert past.reaches_back("kv", now=2.0 * MAX_RINGS)  # five rings are all that there were
    for key in (f"k{number}" for number in range(50)):
        assert always.lookup(key) in past.owners("kv", key)
        assert {"a", "b", "c", "d0", "d1", "d2", "d3"} == set(past.holders("kv", key, 5))


def test_it_is_known_whether_all_rings_of_the_last_while_are_remembered() -> None:
    past = PastRings(now=0.0)
    assert not past.reaches_back("kv", now=UNSETTLED)
    past.note(snapshot(ring("a")), now=10.0)
    assert not past.reaches_back("kv", now=UNSETTLED + 9.0)
    past.note(snapshot(ring("a", "b")), now=UNSETTLED)
    assert past.reaches_back("kv", now=UNSETTLED + 10.0)
    for number in range(MAX_RINGS - 1):
        past.note(snapshot(ring("a", f"b{number}")), now=UNSETTLED + 11.0)
    assert not past.reaches_back("kv", now=UNSETTLED + 12.0)


def test_who_has_come_not_long_ago_may_not_be_known_to_others() -> None:
    past = PastRings(now=0.0)
    past.note(snapshot(ring("a"), stateful=("a",)), now=0.0)
    past.note(snapshot(ring("a", "b"), stateful=("a", "b")), now=30.0)
    assert past.newcomers(now=30.0) == {"a", "b"}
    assert past.newcomers(now=UNSETTLED) == {"b"}
    past.note(snapshot(ring("a"), stateful=("a",)), now=UNSETTLED)
    assert past.newcomers(now=UNSETTLED) == set()


def test_who_comes_with_state_and_all_its_keys_has_rings_that_are_not_remembered_here() -> None:
    past = PastRings(now=0.0)
    past.note(snapshot(ring("a", "b"), stateful=("a", "b")), now=0.0)
    past.note(snapshot(ring("a"), stateful=("a",)), now=10.0)
    assert not past.has_two_sides(now=70.0)
    past.note(snapshot(ring("a", "b"), stateful=("a", "b")), now=80.0)
    assert past.has_two_sides(now=80.0 + UNSETTLED - 0.1)
    assert not past.has_two_sides(now=80.0 + UNSETTLED)


def test_who_joins_in_steps_or_has_no_state_yet_is_no_other_side() -> None:
    past = PastRings(now=0.0)
    past.note(snapshot(ring("a"), stateful=("a",)), now=0.0)
    for standing in (Standing(), Standing(share=4, stateful=True), Standing(share=16, stateful=True)):
        new = replace(member("b"), metadata=Metadata(services=("kv",)).with_standing(standing))
        both = replace(snapshot(ring("a", "b")), members={"a": member("a"), "b": new})
        past.note(both, now=1.0)  # and then it takes all
        assert not past.has_two_sides(now=1.0)


def test_a_ring_is_settled_a_while_after_its_last_change() -> None:
    past = PastRings(now=0.0)
    past.note(snapshot(ring("a")), now=0.0)
    assert past.is_unsettled("kv", now=UNSETTLED - 1)
    past.note(snapshot(ring("a")), now=UNSETTLED - 1)
    assert not past.is_unsettled("kv", now=UNSETTLED)
    past.note(snapshot(ring("a", "b")), now=100.0)
    assert past.is_unsettled("kv", now=101.0)
