"""Trackers as tables: which change of a ring tells what. U33 to U44 of upring's own tests are named."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from swimring.errors import ConfigError
from swimring.ownership import (
    Moved,
    RangesGained,
    RangesLost,
    Rebalancer,
    ReplicaChanged,
    RingSnapshot,
    Tracker,
    Tracking,
    moved_here,
)
from tests.ownership.test_rebalancer import Table, member

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swimring.ring import HashRing
    from swimring.swim import Member

A, B, C, D = (member(name) for name in "abcd")


class Watching:
    """The rings and the trackers of node a, which is alone at first."""

    def __init__(self, *members: Member) -> None:
        self.rings = Rebalancer(Table(*(members or (A,))), cluster="test")
        self.tracking = Tracking(self.rings, me=lambda: "a")

    def turn(self, *members: Member) -> None:
        """These are the members now."""
        with self.rings.telling(self.tracking.follow):
            self.rings.update(members)
            self.rings.flush()

    def key(self, *owners: str, then: Sequence[Member] = (), its: str | None = None) -> str:
        """A key that belongs to ``owners`` in this order now, and to ``its`` once ``then`` are the members."""
        later = self.rings.ring("kv").with_nodes({one.name: one.metadata.weight for one in then})
        return next(key for key in _keys() if self._fits(key, owners, later, its))

    def owns(self, key: str) -> bool:
        return self.rings.ring("kv").lookup(key) == "a"

    def _fits(self, key: str, owners: Sequence[str], later: HashRing, its: str | None) -> bool:
        now = tuple(one.name for one in self.rings.owners("kv", key, len(owners)))
        return now == tuple(owners) and (its is None or later.lookup(key) == its)


def _keys() -> Iterator[str]:
    return (f"key {number}" for number in range(100_000))


def taken(tracker: Tracker) -> list[object]:
    """All that has to be told now."""
    return list(iter(tracker.take, None))


# ---------------------------------------------------------------------------------------------------------- moves


async def test_a_key_that_moves_is_told_with_the_member_that_has_it_now() -> None:
    """U33."""
    watching = Watching()
    with watching.tracking.open("kv", watching.key("a", then=[A, B], its="b"), replicas=0) as tracker:
        watching.turn(A, B)
        assert taken(tracker) == [Moved(to=B, reason="joined")]


async def test_a_key_outside_of_all_ranges_that_moved_is_told_nothing() -> None:
    """U34, U35: keys before and after the ranges that move."""
    watching = Watching()
    with watching.tracking.open("kv", watching.key("a", then=[A, B], its="a"), replicas=0) as tracker:
        watching.turn(A, B)
        assert taken(tracker) == []


async def test_a_move_is_told_once_however_often_the_ring_changes_afterwards() -> None:
    """U37."""
    watching = Watching()
    with watching.tracking.open("kv", watching.key("a", then=[A, B], its="b"), replicas=1) as tracker:
        for members in ((A, B), (A, B, C), (A,), (A, B)):
            watching.turn(*members)
        assert taken(tracker) == [Moved(to=B, reason="joined")]
        assert taken(tracker) == []


async def test_a_key_that_moved_and_came_back_before_anybody_looked_has_moved() -> None:
    watching = Watching()
    with watching.tracking.open("kv", watching.key("a", then=[A, B], its="b"), replicas=0) as tracker:
        watching.turn(A, B)
        watching.turn(A)
        assert taken(tracker) == [Moved(to=B, reason="joined")]


async def test_all_trackers_of_a_key_hear_of_its_move() -> None:
    """U38."""
    watching = Watching()
    key = watching.key("a", then=[A, B], its="b")
    with (
        watching.tracking.open("kv", key, replicas=0) as one,
        watching.tracking.open("kv", key, replicas=0) as other,
    ):
        watching.turn(A, B)
        assert taken(one) == taken(other) == [Moved(to=B, reason="joined")]


async def test_when_the_node_closes_every_tracker_hears_that_its_key_is_nobodys() -> None:
    """U39; who starts to track afterwards hears it at once."""
    watching = Watching()
    with (
        watching.tracking.open("kv", "k", replicas=0) as one,
        watching.tracking.open("kv", "l", replicas=2) as other,
    ):
        watching.tracking.close()
        with watching.tracking.open("kv", "k", replicas=0) as late:
            closed = Moved(to=None, reason="closed")
            assert taken(one) == taken(other) == taken(late) == [closed]


async def test_a_tracker_whose_block_ended_hears_nothing() -> None:
    """U40."""
    watching = Watching()
    with watching.tracking.open("kv", watching.key("a", then=[A, B], its="b"), replicas=1) as tracker:
        pass
    watching.turn(A, B)
    watching.tracking.close()
    assert taken(tracker) == []


async def test_the_reason_of_a_move_says_what_happened_to_the_ring() -> None:
    heavier = member("b", weight=20)
    watching = Watching(A, B)
    with watching.tracking.open("kv", watching.key("a", then=[A, heavier], its="b"), replicas=0) as tracker:
        watching.turn(A, heavier)
        assert taken(tracker) == [Moved(to=heavier, reason="rebalanced")]
    cordoned = member("a", weight=0)
    assert await _fate(cordoned, B) == [Moved(to=B, reason="cordoned")]
    assert await _fate(B) == [Moved(to=B, reason="left")]
    assert await _fate(member("b", "chat")) == [Moved(to=None, reason="left")]


async def _fate(*members: Member) -> list[object]:
    """What a tracker of a key of a hears when a and b become ``members``."""
    watching = Watching(A, B)
    with watching.tracking.open("kv", watching.key("a"), replicas=0) as tracker:
        watching.turn(*members)
        return taken(tracker)


# ------------------------------------------------------------------------------------------------------- replicas


async def test_the_first_other_member_is_a_replica_and_a_new_one_takes_its_place() -> None:
    """U41."""
    watching = Watching()
    closer = watching.rings.ring("kv").with_nodes({"a": 1, "b": 1, "c": 1})
    key = next(key for key in _keys() if closer.owners(key, 3) == ("a", "c", "b"))
    with watching.tracking.open("kv", key, replicas=1) as tracker:
        assert taken(tracker) == []
        watching.turn(A, B)
        assert taken(tracker) == [ReplicaChanged(new=B, old=None)]
        watching.turn(A, B, C)
        assert taken(tracker) == [ReplicaChanged(new=C, old=B)]
        watching.turn(A, B, C, member("d", "chat"))
        assert taken(tracker) == []


async def test_replicas_that_are_there_already_are_told_first() -> None:
    watching = Watching(A, B, C)
    with watching.tracking.open("kv", watching.key("a", "b", "c"), replicas=2) as tracker:
        assert taken(tracker) == [ReplicaChanged(new=B, old=None), ReplicaChanged(new=C, old=None)]


async def test_the_last_replica_that_leaves_is_told_and_the_next_that_comes_as_well() -> None:
    watching = Watching(A, B)
    with watching.tracking.open("kv", watching.key("a", "b"), replicas=1) as tracker:
        assert taken(tracker) == [ReplicaChanged(new=B, old=None)]
        watching.turn(A)
        assert taken(tracker) == [ReplicaChanged(new=None, old=B)]
        watching.turn(A, B)
        assert taken(tracker) == [ReplicaChanged(new=B, old=None)]


async def test_changes_that_nobody_took_are_merged_to_the_newest_state() -> None:
    watching = Watching(A, B)
    with watching.tracking.open("kv", watching.key("a", "b", then=[A, C], its="a"), replicas=1) as tracker:
        assert taken(tracker) == [ReplicaChanged(new=B, old=None)]
        watching.turn(A)
        watching.turn(A, C)
        assert taken(tracker) == [ReplicaChanged(new=C, old=B)]
        watching.turn(A)
        watching.turn(A, C)
        assert taken(tracker) == []


async def test_a_replica_in_a_new_life_is_told_because_it_has_forgotten() -> None:
    watching = Watching(A, B)
    again = member("b", generation=2)
    with watching.tracking.open("kv", watching.key("a", "b"), replicas=1) as tracker:
        assert taken(tracker) == [ReplicaChanged(new=B, old=None)]
        watching.turn(A, again)
        assert taken(tracker) == [ReplicaChanged(new=again, old=B)]
        watching.turn(A, member("b", generation=2, incarnation=5))
        assert taken(tracker) == []


async def test_a_tracker_without_replicas_tells_of_none() -> None:
    """U45, its second half."""
    watching = Watching(A)
    with watching.tracking.open("kv", watching.key("a", then=[A, B], its="a"), replicas=0) as tracker:
        watching.turn(A, B)
        assert taken(tracker) == []


async def test_the_move_takes_the_place_of_all_that_was_to_be_told_of_replicas() -> None:
    """U46: the old owner hears of the move and of no replica."""
    watching = Watching(A)
    with watching.tracking.open("kv", watching.key("a", then=[A, B], its="b"), replicas=1) as tracker:
        watching.turn(A, B)
        assert taken(tracker) == [Moved(to=B, reason="joined")]


async def test_a_negative_number_of_replicas_is_refused() -> None:
    watching = Watching()
    with pytest.raises(ConfigError, match="replicas"), watching.tracking.open("kv", "k", replicas=-1):
        pass


@given(st.lists(st.sets(st.sampled_from("bcdefg")), min_size=1, max_size=4), st.integers(0, 3), st.booleans())
def test_many_trackers_are_told_what_one_alone_is(turns: list[set[str]], replicas: int, take_between: bool) -> None:
    """Comparing rings finds the trackers that looking each key up finds, also where a life of a member is a new one."""

    async def heard_by(few: int | None) -> list[list[object]]:
        watching = Watching(A, B, C)
        keys = [key for key in (f"k{number}" for number in range(400)) if watching.owns(key)][:few]
        heard: list[list[object]] = [[] for _ in keys]
        with ExitStack() as stack:
            trackers = [stack.enter_context(watching.tracking.open("kv", key, replicas=replicas)) for key in keys]
            for number, names in enumerate(turns):
                watching.turn(A, *(member(name, generation=1 + number // 2) for name in names))
                if take_between or number == len(turns) - 1:
                    for one, tracker in zip(heard, trackers, strict=True):
                        one += taken(tracker)
        return heard

    assert trio.run(heard_by, None)[:3] == trio.run(heard_by, 3)


# ------------------------------------------------------------------------------------------------------ iterating


async def test_iterating_waits_for_what_comes_and_ends_after_the_move() -> None:
    watching = Watching()
    told: list[object] = []

    async def listen() -> None:
        told.extend([each async for each in tracker])

    with watching.tracking.open("kv", watching.key("a", then=[A, B], its="b"), replicas=0) as tracker:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            watching.turn(A, B)
    assert told == [Moved(to=B, reason="joined")]


# --------------------------------------------------------------------------------------------------- lost, gained


def test_what_a_node_lost_and_gained_are_merged_ranges_with_who_else_it_concerns() -> None:
    """R5, R8: more than ten ranges, 40 to 100 % of the circle, and what is gained back is what was lost."""
    rings = Rebalancer(Table(A), cluster="test", points=128)
    alone = rings.snapshot
    both = _turned(rings, A, B)
    (lost,) = moved_here(alone, both, "a")
    assert isinstance(lost, RangesLost)
    assert (lost.service, len(lost.moves) > 10) == ("kv", True)
    assert all(0 <= move.start < move.end and (move.source, move.target) == ("a", "b") for move in lost.moves)
    assert all(both.rings["kv"].owner_at(move.end - 1) == "b" for move in lost.moves)
    assert 0.4 <= lost.share <= 1
    (taken_over,) = moved_here(alone, both, "b")
    assert isinstance(taken_over, RangesGained)
    assert taken_over.moves == lost.moves
    (back,) = moved_here(both, _turned(rings, A), "a")
    assert isinstance(back, RangesGained)
    assert back.share == pytest.approx(lost.share)
    assert [(move.start, move.end) for move in back.moves] == [(move.start, move.end) for move in lost.moves]


def test_who_has_no_part_in_a_service_hears_nothing_of_its_moves() -> None:
    rings = Rebalancer(Table(A, member("b", "chat")), cluster="test")
    before = rings.snapshot
    after = _turned(rings, A, member("b", "chat"), member("c", "chat"))
    assert [event.service for event in moved_here(before, after, "a")] == []
    assert [event.service for event in moved_here(before, after, "b")] == ["chat"]
    with pytest.raises(StopIteration):
        next(moved_here(after, after, "b"))


def _turned(rings: Rebalancer, *members: Member) -> RingSnapshot:
    trio.run(_update, rings, members)
    return rings.snapshot


async def _update(rings: Rebalancer, members: Sequence[Member]) -> None:
    rings.update(members)
    rings.flush()
