from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.errors import ConfigError
from swimring.ring import CIRCLE, DEFAULT_POINTS, MAX_WEIGHT, HashRing, ring_seed
from swimring.ring.hashring import _points_of, _position

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

SEED = ring_seed("test")
KEYS = [f"key-{number}" for number in range(300)]

names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6)
weights = st.dictionaries(names, st.integers(1, 3), max_size=8)
any_key = st.one_of(st.text(max_size=20).filter(lambda text: text.isprintable()), st.binary(max_size=20))


def ring_of(nodes: Mapping[str, float], points: int = 8) -> HashRing:
    return HashRing.build(nodes, seed=SEED, points=points)


def owners_of(ring: HashRing) -> dict[str, str | None]:
    return {key: ring.lookup(key) for key in KEYS}


def test_positions_are_the_unsigned_numbers_of_the_siphash_paper() -> None:
    assert _position(bytes(range(15)), bytes(range(16))) == 0xA129CA6149BE45E5


def test_positions_stay_the_same_from_release_to_release() -> None:
    ring = HashRing.build({"a": 1, "b": 1, "c": 2}, seed=ring_seed("hello"))
    assert ring_seed("hello").hex() == "8c0555dadbdb301cce1f4fcbc93be633"
    assert ring.position("k1") == 0xC6AAE3DF3E38BD23
    assert [ring.lookup(key) for key in ("k1", "k2", b"k3", "k4")] == ["a", "a", "a", "b"]
    assert ring.version == "e34815eaf0bc5f5a"


def test_text_and_its_utf8_bytes_are_one_key() -> None:
    ring = ring_of({"a": 1, "b": 1})
    assert ring.position("clé") == ring.position("clé".encode())


def test_an_empty_ring_owns_nothing() -> None:
    ring = ring_of({})
    assert ring.lookup("k") is None
    assert ring.owners("k", 3) == ring.replicas("k", 3) == ()
    assert ring.share() == {}
    assert list(ring.ranges()) == []
    assert not ring


def test_weight_zero_is_not_in_the_ring() -> None:
    ring = ring_of({"a": 1, "cordoned": 0})
    assert dict(ring.nodes) == {"a": 1}
    assert ring == ring_of({"a": 1})
    assert ring.with_node("a", 0) == ring_of({})


def test_a_heavier_node_owns_more() -> None:
    share = HashRing.build({"a": 1, "b": 1, "c": 4}, seed=SEED).share()
    assert 0.55 < share["c"] < 0.75


def test_a_heavier_weight_keeps_every_key_the_node_had() -> None:
    light, heavy = ring_of({"a": 1, "b": 1}), ring_of({"a": 2, "b": 1})
    assert all(heavy.lookup(key) == "a" for key in KEYS if light.lookup(key) == "a")


@pytest.mark.parametrize("weight", [-1, MAX_WEIGHT + 1])
def test_a_weight_out_of_bounds_is_refused(weight: int) -> None:
    with pytest.raises(ConfigError, match="weight of a"):
        ring_of({"a": weight})
    with pytest.raises(ConfigError, match="weight of a"):
        ring_of({}).with_node("a", weight)


def test_a_seed_and_points_out_of_bounds_are_refused() -> None:
    with pytest.raises(ConfigError, match="seed"):
        HashRing.build({}, seed=b"short")
    with pytest.raises(ConfigError, match="points"):
        HashRing.build({}, seed=SEED, points=0)


def test_what_cannot_be_a_key_is_refused() -> None:
    ring = ring_of({"a": 1})
    with pytest.raises(ConfigError, match="key"):
        ring.lookup("k" * 1025)
    with pytest.raises(ConfigError, match="replicas"):
        ring.replicas("k", -1)
    with pytest.raises(ConfigError, match="owners"):
        ring.owners("k", -1)


def test_the_default_imbalance_of_three_equal_nodes_is_moderate() -> None:
    share = HashRing.build({"n1": 1, "n2": 1, "n3": 1}, seed=SEED).share()
    assert DEFAULT_POINTS == 128
    assert max(share.values()) * 3 < 1.4


def test_other_clusters_place_the_same_nodes_elsewhere() -> None:
    nodes = {f"n{number}": 1 for number in range(8)}
    here, there = HashRing.build(nodes, seed=ring_seed("a")), HashRing.build(nodes, seed=ring_seed("b"))
    assert owners_of(here) != owners_of(there)
    assert here != there
    assert here.version == there.version


def test_the_repr_names_version_and_size() -> None:
    ring = ring_of({"a": 1})
    assert repr(ring) == f"<HashRing {ring.version}: 1 nodes, 8 points>"


@given(weights, st.randoms())
def test_the_order_of_insertion_is_irrelevant(nodes: dict[str, int], rng: random.Random) -> None:
    shuffled = list(nodes.items())
    rng.shuffle(shuffled)
    step_by_step = ring_of({})
    for name, weight in shuffled:
        step_by_step = step_by_step.with_node(name, weight)
    at_once = ring_of(nodes)
    assert step_by_step == at_once
    assert step_by_step.version == at_once.version
    assert hash(step_by_step) == hash(at_once)
    assert list(step_by_step.ranges()) == list(at_once.ranges())


@given(weights, weights)
def test_the_difference_gives_the_ring_that_building_gives(before: dict[str, int], after: dict[str, int]) -> None:
    changed, built = ring_of(before).with_nodes(after), ring_of(after)
    assert changed._points == built._points
    assert changed._owners == built._owners
    assert changed == built


@given(weights)
def test_a_change_of_nothing_is_the_same_ring(nodes: dict[str, int]) -> None:
    ring = ring_of(nodes)
    assert ring.with_nodes(nodes) is ring
    assert ring.without_node("nobody at all") is ring


@given(weights.filter(bool), st.data())
def test_removing_a_node_moves_its_keys_only_and_each_to_its_first_replica(
    nodes: dict[str, int], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(nodes)))
    before = ring_of(nodes)
    after = before.without_node(gone)
    for key in KEYS[:50]:
        owner = before.lookup(key)
        heirs = before.replicas(key, 1)
        assert after.lookup(key) == ((heirs[0] if heirs else None) if owner == gone else owner)


@given(weights, names)
def test_a_new_node_takes_keys_and_no_other_key_moves(nodes: dict[str, int], new: str) -> None:
    before = ring_of({name: weight for name, weight in nodes.items() if name != new})
    after = before.with_node(new)
    assert all(after.lookup(key) in (new, before.lookup(key)) for key in KEYS[:50])


@given(weights, any_key, st.integers(0, 10))
def test_owners_are_distinct_begin_with_the_owner_and_are_as_many_as_there_can_be(
    nodes: dict[str, int], key: str | bytes, n: int
) -> None:
    ring = ring_of(nodes)
    owners = ring.owners(key, n)
    assert len(set(owners)) == len(owners) == min(n, len(nodes))
    assert owners[:1] == ((ring.lookup(key),) if nodes and n else ())
    assert ring.replicas(key, n) == ring.owners(key, n + 1)[1:]


@given(weights.filter(bool), st.integers(0, CIRCLE - 1))
def test_ranges_cover_the_circle_once_and_agree_with_lookup(nodes: dict[str, int], position: int) -> None:
    ring = ring_of(nodes)
    ranges = list(ring.ranges())
    assert ranges[0][0] == 0
    assert ranges[-1][1] == CIRCLE
    assert all(one[1] == next_[0] and one[0] < one[1] for one, next_ in itertools.pairwise(ranges))
    assert [owner for start, end, owner in ranges if start <= position < end] == [ring.owner_at(position)]
    for start, end, owner in ranges:
        assert ring.owner_at(start) == ring.owner_at(end - 1) == owner
    assert sum(ring.share().values()) == pytest.approx(1)


def test_two_nodes_on_one_position_are_ordered_by_name_and_both_can_be_taken_out() -> None:
    def shared(*names: str) -> HashRing:
        marks = sorted((point, name) for name in names for point in (100, 200))
        points, owners = [point for point, _ in marks], [name for _, name in marks]
        return HashRing(nodes=dict.fromkeys(names, 1), seed=SEED, per_weight=2, points=points, owners=owners)

    assert shared("b", "a").owner_at(50) == "a"
    assert list(shared("a", "b").ranges()) == [(0, 100, "a"), (100, 200, "a"), (200, CIRCLE, "a")]


def test_a_shared_position_survives_joining_and_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    # No two short names collide in 64 bits, so the hash is replaced by one in which all do.
    monkeypatch.setattr(
        "swimring.ring.hashring._points_of", lambda _name, count, _seed: [7 * (i // 2) for i in range(count)]
    )
    both = ring_of({"a": 1}).with_node("b")
    assert both._owners == ring_of({"b": 1}).with_node("a")._owners == ring_of({"a": 1, "b": 1})._owners
    assert both.owner_at(0) == "a"
    assert both.without_node("a")._owners == ["b"] * 8
    assert both.without_node("b")._owners == ["a"] * 8


def test_points_depend_on_name_and_index_only() -> None:
    assert list(_points_of("a", 4, SEED)) == list(_points_of("a", 8, SEED))[:4]


def test_a_part_of_a_weight_has_that_part_of_the_points_and_growing_keeps_every_key() -> None:
    shares = [ring_of({"a": 1, "b": weight}, points=64) for weight in (0.25, 0.5, 1, 2.5)]
    assert [ring.points for ring in shares] == [64 + 16, 64 + 32, 64 + 64, 64 + 160]
    assert len({ring.version for ring in shares}) == 4
    for less, more in itertools.pairwise(shares):
        assert all(more.lookup(key) == "b" for key in KEYS if less.lookup(key) == "b")
        assert less.with_node("b", more.nodes["b"]) == more
    assert ring_of({"a": 0.0625}, points=4).points == 1


def test_a_whole_weight_is_the_same_however_it_is_written() -> None:
    one, other = ring_of({"a": 2.0, "b": 1}), ring_of({"a": 2, "b": 1.0})
    assert one == other
    assert one.version == other.version
    assert list(one.nodes.values()) == [2, 1]


@pytest.mark.parametrize("weight", [0.3, 1 / 32, float("nan"), float("inf"), 128.5])
def test_a_weight_between_the_steps_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight of a"):
        ring_of({"a": weight})
