"""Whole nodes whose keys change hands: upring's U45 and U46, those of its ring (R1 to R9), the farewell."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import NodeClosed, NoSuchHandler, NotOwner
from swimring.ownership import Moved, RangesGained, RangesLost, ReplicaChanged

from .nodes import Shop, key_of, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swimring.node import Node
    from swimring.testing import SimulatedNetwork


def will_own(a: Node, *, before: Sequence[str], after: Sequence[str], owner: str, then: str) -> str:
    """A key of ``owner`` while the nodes ``before`` are there, and of ``then`` when those ``after`` are."""
    ring = a.ring("shop")
    old, new = ring.with_nodes(dict.fromkeys(before, 1)), ring.with_nodes(dict.fromkeys(after, 1))
    return next(key for n in range(10_000) if old.lookup(key := f"k{n}") == owner and new.lookup(key) == then)


@simulated
async def test_a_tracker_hears_of_the_move_to_a_node_that_joins_and_then_ends(network: SimulatedNetwork) -> None:
    """U45."""
    shop = Shop()
    async with node_at(network, "a", shop.service) as a:
        key = will_own(a, before="a", after="ab", owner="a", then="b")
        async with a.track(key) as moves, node_at(network, "b", shop.service, join=["a"]) as b:
            assert [move async for move in moves] == [Moved(to=b.me, reason="joined")]
            assert a.lookup(key) == b.me


@simulated
async def test_the_new_owner_hears_of_its_replica_and_the_old_one_owns_again_when_it_leaves(
    network: SimulatedNetwork,
) -> None:
    """U46."""
    shop = Shop()
    async with node_at(network, "a", shop.service) as a:
        key = will_own(a, before="a", after="ab", owner="a", then="b")
        async with a.track(key, replicas=1) as old_moves:
            async with node_at(network, "b", shop.service, join=["a"]) as b:
                assert [move async for move in old_moves] == [Moved(to=b.me, reason="joined")]
                async with b.track(key, replicas=1) as moves:
                    assert await anext(moves) == ReplicaChanged(new=a.me, old=None)
            with trio.fail_after(5):
                await a.wait_owned(key)
            assert a.owns(key)


@simulated
async def test_a_key_of_another_node_cannot_be_tracked_and_the_error_names_its_owner(network: SimulatedNetwork) -> None:
    """U36."""
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _b):
        with pytest.raises(NotOwner) as refused:
            async with a.track(key_of(a, "b")):
                pass
        assert (refused.value.owner, refused.value.maybe_executed) == ("b", False)
        with pytest.raises(NoSuchHandler):
            async with a.track("k", service="nobody's"):
                pass


@simulated
async def test_waiting_for_a_key_ends_once_it_lives_here_whoever_waits(network: SimulatedNetwork) -> None:
    """U42, U43; U44 is different: who owns the key already does not wait."""
    shop = Shop()
    async with node_at(network, "a", shop.service) as a, trio.open_nursery() as nursery:
        await a.wait_owned("k")
        key, other = (will_own(a, before="ab", after="a", owner="b", then="a") for _ in range(2))
        owned: list[str] = []

        async def wait(wanted: str) -> None:
            await a.wait_owned(wanted)
            owned.append(wanted)

        async with node_at(network, "b", shop.service, join=["a"]):
            await a.wait_ring(nodes=2)
            nursery.start_soon(wait, key)
            nursery.start_soon(wait, other)
            async with node_at(network, "c", shop.service, join=["a"]):
                await a.wait_ring(nodes=3)
            await a.wait_ring(nodes=2)
            assert owned == []
        with trio.fail_after(5):
            await a.wait_ring(nodes=1)
            await a.wait_owned(key)
    assert owned == [key, other]


@simulated
async def test_who_leaves_hears_where_its_keys_went_and_who_waits_for_one_that_it_has_left(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    told: list[object] = []
    async with nodes_at(network, "ab", shop.service) as (a, b), trio.open_nursery() as nursery:
        key = key_of(a, "a")

        async def track(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            async with a.track(key, replicas=1) as moves:
                task_status.started()
                told.extend([move async for move in moves])

        async def wait() -> None:
            with pytest.raises(NodeClosed):
                await a.wait_owned(key_of(a, "b"))
            told.append("closed")

        await nursery.start(track)
        nursery.start_soon(wait)
        await trio.sleep(1)
        await a.leave()
        a.hurry()
        assert b.name == "b"
    told.remove("closed")
    assert [type(each).__name__ for each in told] == ["ReplicaChanged", "Moved"]
    moved = told[1]
    assert isinstance(moved, Moved)
    assert (moved.to and moved.to.name, moved.reason) == ("b", "left")


@simulated
async def test_a_node_that_ends_without_a_farewell_tells_its_trackers_that_it_has_closed(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    async with AsyncExitStack() as stack:
        async with node_at(network, "a", shop.service) as a:
            moves = await stack.enter_async_context(a.track("k"))
            a.hurry()
        assert [move async for move in moves] == [Moved(to=None, reason="closed")]


@simulated
async def test_events_tell_the_ranges_that_went_and_came_back(network: SimulatedNetwork) -> None:
    """R5, R8."""
    shop = Shop()
    async with node_at(network, "a", shop.service, points=128) as a, a.events() as events:
        async with node_at(network, "b", shop.service, join=["a"]) as b:
            lost = await next_of(events, RangesLost)
            assert isinstance(lost, RangesLost)
            assert {(move.source, move.target) for move in lost.moves} == {("a", b.name)}
            assert lost.service == "shop"
            assert len(lost.moves) > 10
            assert 0.4 <= lost.share <= 1
        gained = await next_of(events, RangesGained)
        assert isinstance(gained, RangesGained)
        assert gained.share == pytest.approx(lost.share)
        assert {(move.source, move.target) for move in gained.moves} == {("b", "a")}


async def next_of(events: object, kind: type) -> object:
    with trio.fail_after(10):
        async for event in events:  # type: ignore[attr-defined]
            if isinstance(event, kind):
                return event
    raise AssertionError("the events ended")


@simulated
async def test_two_nodes_agree_about_every_key_and_its_next_owner(network: SimulatedNetwork) -> None:
    """R1, R2, R9."""
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        assert a.lookup("hello") == b.lookup("hello")
        assert (a.owns("hello"), b.owns("hello")).count(True) == 1
        owner, other = (a, b) if a.owns("hello") else (b, a)
        assert owner.lookup("hello") == owner.me
        assert a.replicas("hello", 5) == b.replicas("hello", 5) == (other.me,)
        assert a.members == b.members == (a.me, b.me)


@simulated
async def test_ten_nodes_agree_and_one_without_services_or_keys_owns_none(network: SimulatedNetwork) -> None:
    """R3, R4, R7."""
    shop = Shop()
    async with (
        nodes_at(network, "abcdefghij", shop.service) as nodes,
        node_at(network, "plain", join=["a"]) as plain,
        node_at(network, "asks", shop.service, join=["a"], weight=0) as client,
    ):
        await trio.sleep(2)
        everybody = [*nodes, plain, client]
        assert len({node.lookup("hello", service="shop").name for node in everybody}) == 1
        assert {member.name for member in nodes[0].members} == {node.name for node in everybody}
        for number in range(1000):
            assert not {plain.name, client.name} & {
                node.lookup(f"k{number}", service="shop").name for node in (nodes[0], plain, client)
            }
