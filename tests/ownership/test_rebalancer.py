from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from swimring.errors import ConfigError, RemoteProtocolError
from swimring.identity import Address
from swimring.instrument import Instrument, Instruments
from swimring.ownership import CutFilter, Rebalancer
from swimring.ring import MAX_WEIGHT, HashRing, ring_seed
from swimring.swim import Member, Metadata, Status

if TYPE_CHECKING:
    from collections.abc import Iterable


def member(
    name: str,
    *services: str,
    weight: int = 1,
    status: Status = Status.ALIVE,
    generation: int = 1,
    incarnation: int = 0,
    port: int = 7979,
) -> Member:
    metadata = Metadata(services=services or ("kv",), weight=weight)
    return Member(
        name=name,
        address=Address("10.0.0.1", port),
        generation=generation,
        incarnation=incarnation,
        status=status,
        metadata=metadata,
    )


class Table:
    """A membership that believes whatever it is told, as long as it is greater."""

    def __init__(self, *members: Member) -> None:
        self.records = {one.name: one for one in members}

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(self.records.values())

    def learn(self, members: Iterable[Member]) -> None:
        for one in members:
            if one.name not in self.records or one.supersedes(self.records[one.name]):
                self.records[one.name] = one


class Heard(Instrument):
    def __init__(self) -> None:
        self.rings: list[tuple[str, int]] = []

    def ring_changed(self, service: str, version: str, nodes: int) -> None:
        self.rings.append((service, nodes))


def rebalancer_of(*members: Member) -> Rebalancer:
    return Rebalancer(Table(*members), cluster="test")


def names(members: Iterable[Member]) -> list[str]:
    return [one.name for one in members]


def test_the_cut_filter_waits_for_quiet_but_not_for_ever() -> None:
    cut = CutFilter(quiet=0.1, limit=0.5)
    assert cut.due == -math.inf
    cut.changed(now=10.0)
    assert cut.due == pytest.approx(10.1)
    cut.changed(now=10.05)
    assert cut.due == pytest.approx(10.15)
    for tenth in range(1, 6):
        cut.changed(now=10.0 + tenth * 0.09)
    assert cut.due == pytest.approx(10.5)
    cut.published()
    assert cut.due == -math.inf


def test_the_first_snapshot_is_there_at_once() -> None:
    rebalancer = rebalancer_of(member("b"), member("a"))
    snapshot = rebalancer.snapshot
    assert snapshot.sequence == rebalancer.sequence == 1
    assert list(snapshot.members) == ["a", "b"]
    assert snapshot.rings["kv"] == HashRing.build({"a": 1, "b": 1}, seed=ring_seed("test"))


def test_each_service_has_a_ring_of_the_members_that_offer_it() -> None:
    rebalancer = rebalancer_of(member("a", "kv", "chat"), member("b", "kv", weight=3), member("c", "chat"))
    assert dict(rebalancer.ring("kv").nodes) == {"a": 1, "b": 3}
    assert dict(rebalancer.ring("chat").nodes) == {"a": 1, "c": 1}
    owner = rebalancer.owner("chat", "k")
    assert owner is not None
    assert owner.name == rebalancer.ring("chat").lookup("k")
    assert names(rebalancer.owners("chat", "k", 5)) == list(rebalancer.ring("chat").owners("k", 5))
    with pytest.raises(ConfigError):
        rebalancer.owner("kv", "k" * 2000)


def test_a_service_that_nobody_offers_has_an_empty_ring() -> None:
    rebalancer = rebalancer_of(member("a"))
    assert rebalancer.owner("chat", "k") is None
    assert rebalancer.owners("chat", "k", 2) == rebalancer.offering("chat") == ()
    assert rebalancer.version("chat") == HashRing.build({}, seed=ring_seed("test")).version


def test_suspects_are_in_the_ring_and_the_dead_and_gone_are_not() -> None:
    rebalancer = rebalancer_of(
        member("a"),
        member("b", status=Status.SUSPECT),
        member("c", status=Status.DEAD),
        member("d", status=Status.LEFT),
    )
    assert list(rebalancer.ring("kv").nodes) == list(rebalancer.snapshot.members) == ["a", "b"]


def test_a_member_of_weight_zero_owns_nothing_and_is_asked_only_if_there_is_no_other() -> None:
    rebalancer = rebalancer_of(member("a", "kv"), member("cordoned", "kv", "chat", weight=0))
    assert names(rebalancer.offering("kv")) == ["a"]
    assert names(rebalancer.offering("chat")) == ["cordoned"]
    assert rebalancer.owner("chat", "k") is None


def test_a_weight_beyond_the_bound_counts_as_the_bound() -> None:
    assert rebalancer_of(member("a", weight=60_000)).ring("kv").nodes["a"] == MAX_WEIGHT


def test_nodes_that_agree_about_every_key_have_snapshots_of_one_version() -> None:
    one, other = rebalancer_of(member("a"), member("b")), rebalancer_of(member("b", generation=7), member("a"))
    assert one.snapshot.version == other.snapshot.version
    assert one.snapshot.version != rebalancer_of(member("a")).snapshot.version
    assert one.snapshot.version != rebalancer_of(member("a"), member("b"), member("c", "chat")).snapshot.version


async def test_a_burst_is_published_once_after_a_pause(autojump_clock: trio.testing.MockClock) -> None:
    heard = Heard()
    rebalancer = Rebalancer(Table(member("a")), cluster="test", instruments=Instruments([heard]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rebalancer.run)
        start = trio.current_time()
        for count in range(1, 4):
            rebalancer.update([member(f"n{number}") for number in range(count)])
            await trio.sleep(0.05)
        assert rebalancer.sequence == 1
        snapshot = await rebalancer.wait_changed(1)
        assert trio.current_time() - start == pytest.approx(0.2)
        assert list(snapshot.rings["kv"].nodes) == ["n0", "n1", "n2"]
        assert heard.rings == [("kv", 1), ("kv", 3)]
        nursery.cancel_scope.cancel()


async def test_changes_without_a_pause_are_published_after_half_a_second(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rebalancer = rebalancer_of(member("a"))
    published: list[float] = []

    async def watch() -> None:
        while True:
            await rebalancer.wait_changed(rebalancer.sequence)
            published.append(round(trio.current_time() - start, 2))

    async with trio.open_nursery() as nursery:
        start = trio.current_time()
        nursery.start_soon(rebalancer.run)
        nursery.start_soon(watch)
        for count in range(20):
            rebalancer.update([member(f"n{number}") for number in range(count)])
            await trio.sleep(0.08)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    # The changes come at 0.00, 0.08, ... 1.52; the first after 0.5 s begins the next burst.
    assert published == [0.5, 1.06, 1.62]


async def test_what_does_not_matter_to_a_ring_publishes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    rebalancer = rebalancer_of(member("a"), member("b"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rebalancer.run)
        rebalancer.update([member("b", status=Status.SUSPECT), member("a"), member("c", status=Status.DEAD)])
        await trio.sleep(1)
        rebalancer.update([member("a")])
        await trio.sleep(0.05)
        rebalancer.update([member("a"), member("b", incarnation=2)])
        await trio.sleep(1)
        assert rebalancer.sequence == 1
        nursery.cancel_scope.cancel()


async def test_a_restart_moves_no_key_and_is_published_with_its_address(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rebalancer = rebalancer_of(member("a"), member("b"))
    before = rebalancer.snapshot
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rebalancer.run)
        rebalancer.update([member("a"), member("b", generation=2, port=8000)])
        after = await rebalancer.wait_changed(before.sequence)
        nursery.cancel_scope.cancel()
    assert after.version == before.version
    assert after.rings["kv"] is before.rings["kv"]
    assert after.members["b"].address.port == 8000


async def test_records_of_a_refusal_are_published_at_once(autojump_clock: trio.testing.MockClock) -> None:
    rebalancer = rebalancer_of(member("a"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rebalancer.run)
        rebalancer.update([member("a"), member("b")])
        await trio.testing.wait_all_tasks_blocked()
        rebalancer._view.learn([member("b")])
        rebalancer.apply([member("c").to_wire(), member("a").to_wire()])
        assert list(rebalancer.ring("kv").nodes) == ["a", "b", "c"]
        assert rebalancer.sequence == 2
        await trio.sleep(1)
        assert rebalancer.sequence == 2
        rebalancer.update([member("a")])
        await rebalancer.wait_changed(2)
        nursery.cancel_scope.cancel()


async def test_records_that_are_none_are_refused_and_change_nothing() -> None:
    rebalancer = rebalancer_of(member("a"))
    with pytest.raises(RemoteProtocolError):
        rebalancer.apply([member("b").to_wire(), ["nonsense"]])
    assert list(rebalancer.ring("kv").nodes) == ["a"]


async def test_old_records_change_nothing() -> None:
    rebalancer = rebalancer_of(member("a", incarnation=5))
    rebalancer.apply([member("a", "chat", incarnation=4).to_wire()])
    assert rebalancer.sequence == 1


async def test_changes_after_records_that_changed_nothing_are_still_published(
    autojump_clock: trio.testing.MockClock,
) -> None:
    rebalancer = Rebalancer(Table(member("a")), cluster="c")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rebalancer.run)
        await trio.testing.wait_all_tasks_blocked()
        rebalancer.apply([member("a").to_wire()])
        rebalancer.update([member("a"), member("b")])
        with trio.fail_after(5):
            await rebalancer.wait_changed(rebalancer.sequence)
        nursery.cancel_scope.cancel()
    assert list(rebalancer.ring("kv").nodes) == ["a", "b"]


async def test_a_service_that_is_no_longer_offered_is_told(autojump_clock: trio.testing.MockClock) -> None:
    heard = Heard()
    rebalancer = Rebalancer(Table(member("a", "kv", "chat")), cluster="test", instruments=Instruments([heard]))
    rebalancer.update([replace(member("a"), metadata=Metadata(services=("kv",)))])
    rebalancer.flush()
    assert heard.rings == [("chat", 1), ("kv", 1), ("chat", 0)]


async def test_what_changes_after_a_flush_is_published_too(autojump_clock: trio.testing.MockClock) -> None:
    rebalancer = rebalancer_of(member("a"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rebalancer.run)
        await trio.testing.wait_all_tasks_blocked()
        rebalancer.flush()
        rebalancer.update([member("a"), member("b")])
        with trio.fail_after(1):
            snapshot = await rebalancer.wait_changed(rebalancer.sequence)
        assert list(snapshot.members) == ["a", "b"]
        nursery.cancel_scope.cancel()


async def test_a_snapshot_says_which_ranges_have_moved_since_an_older_one() -> None:
    a, b, c = member("a"), member("b"), member("c")
    rebalancer = rebalancer_of(a, b, c)
    older = rebalancer.snapshot
    rebalancer.update([a, b])
    rebalancer.flush()
    newer = rebalancer.snapshot
    moves = newer.moved_since(older, "kv")
    assert {move.source for move in moves} == {"c"}
    assert {move.target for move in moves} == {"a", "b"}
    for number in range(200):
        at = older.rings["kv"].position(f"key {number}")
        moved = [move for move in moves if move.start <= at < move.end]
        owners = older.rings["kv"].lookup(f"key {number}"), newer.rings["kv"].lookup(f"key {number}")
        assert [(move.source, move.target) for move in moved] == ([owners] if owners[0] != owners[1] else [])
    assert newer.moved_since(older, "no such service") == ()
    assert newer.moved_since(newer, "kv") == ()


async def test_a_service_that_appears_or_goes_moves_every_key_from_or_to_nobody() -> None:
    rebalancer = rebalancer_of(member("a"))
    older = rebalancer.snapshot
    rebalancer.update([member("a", "kv", "chat")])
    rebalancer.flush()
    newer = rebalancer.snapshot
    assert {(move.source, move.target) for move in newer.moved_since(older, "chat")} == {(None, "a")}
    assert sum(move.share for move in older.moved_since(newer, "chat")) == pytest.approx(1)
    assert {(move.source, move.target) for move in older.moved_since(newer, "chat")} == {("a", None)}


async def test_a_snapshot_says_where_owner_or_copies_have_changed() -> None:
    a, b, c = member("a"), member("b"), member("c")
    rebalancer = rebalancer_of(a, b)
    older = rebalancer.snapshot
    rebalancer.update([a, b, c])
    rebalancer.flush()
    newer = rebalancer.snapshot
    changes = newer.reassigned_since(older, "kv", copies=1)
    for number in range(200):
        key = f"key {number}"
        position = newer.rings["kv"].position(key)
        told = [(change.before, change.after) for change in changes if position in change]
        words = tuple(names(older.owners("kv", key, 2))), tuple(names(newer.owners("kv", key, 2)))
        assert told == ([words] if words[0] != words[1] else [])
    assert newer.owners("chat", "k", 2) == ()


async def test_a_place_that_was_asked_for_before_is_the_one_of_the_ring_of_now() -> None:
    rebalancer = rebalancer_of(member("a"), member("b"))
    keys = [f"key {number}" for number in range(5000)]  # more than are remembered

    def places() -> list[tuple[Member | None, str]]:
        return [rebalancer.place("kv", key) for key in keys]

    def looked_up() -> list[tuple[Member | None, str]]:
        return [(rebalancer.owner("kv", key), rebalancer.version("kv")) for key in keys]

    assert places() == places() == looked_up()
    rebalancer.update([member("a"), member("c"), member("b", generation=2)])
    rebalancer.flush()
    assert places() == places() == looked_up()
    assert {owner and (owner.name, owner.generation) for owner, _ in places()} == {("a", 1), ("b", 2), ("c", 1)}
    assert rebalancer.place("other", "key") == (None, rebalancer.version("other"))


async def test_a_follower_gets_the_current_snapshot_then_each_one_and_then_the_end() -> None:
    rebalancer = rebalancer_of(member("a"))
    heard: list[int] = []

    async def listen(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with rebalancer.follow() as snapshots:
            task_status.started()
            heard.extend([snapshot.sequence async for snapshot in snapshots])

    async with trio.open_nursery() as nursery:
        await nursery.start(listen)
        await trio.testing.wait_all_tasks_blocked()
        rebalancer.update([member("a"), member("b")])
        rebalancer.flush()
        await trio.testing.wait_all_tasks_blocked()
        rebalancer.close()
    assert heard == [1, 2]


async def test_a_slow_follower_skips_snapshots_but_never_the_latest() -> None:
    rebalancer = rebalancer_of(member("a"))
    async with rebalancer.follow() as snapshots:
        assert (await anext(snapshots)).sequence == 1
        for count in range(2, 6):
            rebalancer.update([member(f"n{number}") for number in range(count)])
            rebalancer.flush()
        rebalancer.close()
        assert [snapshot.sequence async for snapshot in snapshots] == [5]


async def test_who_follows_after_the_end_gets_the_last_snapshot() -> None:
    rebalancer = rebalancer_of(member("a"))
    rebalancer.close()
    async with rebalancer.follow() as snapshots:
        assert [snapshot.sequence async for snapshot in snapshots] == [1]


async def test_a_listener_is_told_of_every_change_with_what_was_before_until_its_block_ends() -> None:
    rebalancer = rebalancer_of(member("a"))
    told: list[tuple[int, int]] = []
    with rebalancer.telling(lambda old, new: told.append((old.sequence, new.sequence))):
        for count in (2, 3):
            rebalancer.update([member(f"n{number}") for number in range(count)])
            rebalancer.flush()
    rebalancer.update([member("a")])
    rebalancer.flush()
    assert told == [(1, 2), (2, 3)]
