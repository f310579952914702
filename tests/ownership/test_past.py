"""Who may still hold a key: those who owned it in the rings of the last while, and those behind them."""

from __future__ import annotations

from types import MappingProxyType

from swimring.ownership.past import MAX_RINGS, UNSETTLED, PastRings
from swimring.ownership.rebalancer import RingSnapshot
from swimring.ring import HashRing, ring_seed


def ring(*names: str) -> HashRing:
    return HashRing.build(dict.fromkeys(names, 1), seed=ring_seed("test"), points=16)


def snapshot(one: HashRing) -> RingSnapshot:
    return RingSnapshot(sequence=1, version="v", members={}, offering={}, rings=MappingProxyType({"kv": one}))


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


def test_the_memory_is_bounded() -> None:
    past = PastRings(now=0.0)
    for number in range(3 * MAX_RINGS):
        past.note(snapshot(ring(f"old{number}")), now=0.0)
    assert len(past.holders("kv", "k", 0)) == MAX_RINGS


def test_a_ring_is_settled_a_while_after_its_last_change() -> None:
    past = PastRings(now=0.0)
    past.note(snapshot(ring("a")), now=0.0)
    assert past.is_unsettled("kv", now=UNSETTLED - 1)
    past.note(snapshot(ring("a")), now=UNSETTLED - 1)
    assert not past.is_unsettled("kv", now=UNSETTLED)
    past.note(snapshot(ring("a", "b")), now=100.0)
    assert past.is_unsettled("kv", now=101.0)
