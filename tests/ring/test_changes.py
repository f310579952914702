from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.errors import ConfigError
from swimring.ring import CIRCLE, HashRing, Move, Reassignment, moved_ranges, reassigned_ranges, ring_seed

SEED = ring_seed("test")

names = st.text("abcdefgh", min_size=1, max_size=2)
rings = st.dictionaries(names, st.integers(1, 3), max_size=6).map(
    lambda nodes: HashRing.build(nodes, seed=SEED, points=4)
)


def at(marks: dict[int, str]) -> HashRing:
    """A ring with chosen points."""
    points = sorted(marks)
    owners = [marks[point] for point in points]
    return HashRing(nodes=dict.fromkeys(owners, 1), seed=SEED, per_weight=1, points=points, owners=owners)


@given(rings, rings, st.integers(0, CIRCLE - 1))
def test_a_position_moved_exactly_if_it_is_in_one_range(old: HashRing, new: HashRing, position: int) -> None:
    covering = [move for move in moved_ranges(old, new) if position in move]
    source, target = old.owner_at(position), new.owner_at(position)
    expected = [] if source == target else [(source, target)]
    assert [(move.source, move.target) for move in covering] == expected


@given(rings, rings)
def test_the_edges_of_every_range_are_exact(old: HashRing, new: HashRing) -> None:
    for move in moved_ranges(old, new):
        for inside in (move.start, move.end - 1):
            assert (old.owner_at(inside), new.owner_at(inside)) == (move.source, move.target)
        for outside in (move.start - 1, move.end):
            if 0 <= outside < CIRCLE:
                assert (old.owner_at(outside), new.owner_at(outside)) != (move.source, move.target)


@given(rings, rings)
def test_ranges_are_ordered_disjoint_merged_and_never_empty(old: HashRing, new: HashRing) -> None:
    moves = moved_ranges(old, new)
    assert all(0 <= move.start < move.end <= CIRCLE and move.source != move.target for move in moves)
    for one, following in itertools.pairwise(moves):
        assert one.end <= following.start
        joined = one.end == following.start
        assert not joined or (one.source, one.target) != (following.source, following.target)


@given(rings, rings)
def test_going_back_moves_the_same_ranges_the_other_way(old: HashRing, new: HashRing) -> None:
    there = [(move.start, move.end, move.source, move.target) for move in moved_ranges(old, new)]
    back = [(move.start, move.end, move.target, move.source) for move in moved_ranges(new, old)]
    assert there == back


@given(rings)
def test_nothing_moves_between_equal_rings(ring: HashRing) -> None:
    assert moved_ranges(ring, ring) == ()


@given(rings, names)
def test_what_a_joining_node_takes_is_what_it_gives_back(ring: HashRing, name: str) -> None:
    without = ring.without_node(name)
    moves = moved_ranges(without, without.with_node(name))
    assert {move.target for move in moves} == {name}
    assert sum(move.share for move in moves) == pytest.approx(without.with_node(name).share()[name])


def test_the_first_node_gets_the_whole_circle_and_the_last_one_leaves_it_to_nobody() -> None:
    empty, alone = at({}), at({50: "a"})
    assert moved_ranges(empty, alone) == (Move(start=0, end=CIRCLE, source=None, target="a"),)
    assert moved_ranges(alone, empty) == (Move(start=0, end=CIRCLE, source="a", target=None),)


def test_a_range_over_the_top_of_the_circle_is_two_moves() -> None:
    moves = moved_ranges(at({100: "a", 200: "b"}), at({100: "c", 200: "b"}))
    assert moves == (
        Move(start=0, end=100, source="a", target="c"),
        Move(start=200, end=CIRCLE, source="a", target="c"),
    )


def test_neighbouring_ranges_of_the_same_two_nodes_are_one_move() -> None:
    old = at({100: "a", 200: "a", 300: "b"})
    assert moved_ranges(old, at({200: "c", 300: "b"})) == (
        Move(start=0, end=200, source="a", target="c"),
        Move(start=300, end=CIRCLE, source="a", target="c"),
    )


def test_a_point_itself_belongs_to_the_next_range() -> None:
    (move,) = moved_ranges(at({200: "b"}), at({100: "b", 150: "a", 200: "b"}))
    assert (move.start, move.end) == (100, 150)
    assert 100 in move
    assert 150 not in move
    assert "100" not in move


def test_rings_of_two_clusters_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match="one cluster"):
        moved_ranges(at({}), HashRing.build({}, seed=ring_seed("other")))


def owners_at(ring: HashRing, position: int, n: int) -> tuple[str, ...]:
    """What `HashRing.owners` says, of a position and step by step."""
    found: dict[str, None] = {}
    marks = [(start, owner) for start, _, owner in ring.ranges()]
    first = next((at for at, (start, _) in reversed(list(enumerate(marks))) if start <= position), 0)
    for step in range(len(marks)):
        found[marks[(first + step) % len(marks)][1]] = None
    return tuple(found)[:n]


@given(rings, st.integers(0, CIRCLE - 1), st.integers(0, 4))
def test_the_spans_of_a_ring_say_the_owners_of_every_position(ring: HashRing, position: int, n: int) -> None:
    spans = list(ring.spans(n))
    assert [end for end, _ in spans] == sorted({end for end, _ in spans})
    assert spans[-1][0] == CIRCLE
    assert next(owners for end, owners in spans if position < end) == owners_at(ring, position, n)


@given(rings, st.text(max_size=5), st.integers(0, 4))
def test_the_spans_of_a_ring_are_what_it_says_of_keys(ring: HashRing, key: str, n: int) -> None:
    position = ring.position(key)
    assert next(owners for end, owners in ring.spans(n) if position < end) == ring.owners(key, n)


@given(rings, rings, st.integers(0, CIRCLE - 1), st.integers(0, 3))
def test_owner_or_copies_of_a_position_changed_exactly_if_it_is_in_one_range(
    old: HashRing, new: HashRing, position: int, copies: int
) -> None:
    covering = [change for change in reassigned_ranges(old, new, copies=copies) if position in change]
    before, after = owners_at(old, position, 1 + copies), owners_at(new, position, 1 + copies)
    assert [(change.before, change.after) for change in covering] == ([] if before == after else [(before, after)])


@given(rings, rings)
def test_without_copies_what_is_reassigned_is_what_moved(old: HashRing, new: HashRing) -> None:
    moved = [(move.start, move.end, move.source, move.target) for move in moved_ranges(old, new)]
    told = [
        (each.start, each.end, next(iter(each.before), None), next(iter(each.after), None))
        for each in reassigned_ranges(old, new, copies=0)
    ]
    assert told == moved


def test_a_new_replica_is_a_reassignment_without_a_move() -> None:
    old, new = at({10: "a", 20: "b"}), at({10: "a", 15: "c", 20: "b"})
    assert reassigned_ranges(old, new, copies=1) == (
        Reassignment(start=0, end=10, before=("a", "b"), after=("a", "c")),
        Reassignment(start=10, end=15, before=("b", "a"), after=("c", "b")),
        Reassignment(start=20, end=CIRCLE, before=("a", "b"), after=("a", "c")),
    )


def test_reassignments_of_rings_of_two_clusters_cannot_be_told() -> None:
    with pytest.raises(ConfigError, match="one cluster"):
        reassigned_ranges(at({}), HashRing.build({}, seed=ring_seed("other")), copies=1)
