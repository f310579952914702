"""Handlers that yield, channels and streams of objects, between nodes and on the node itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.errors import (
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    HandlerFailed,
    InvalidRequest,
    LocalProtocolError,
    RemoteProtocolError,
    StreamReset,
)
from swimring.instrument import Instrument
from swimring.mux import ITEMS
from swimring.service import Channel, Objects, Request, Service

from .nodes import key_of, nodes_at, simulated
from .talking import Studio, Update, objects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.node import Node
    from swimring.testing import SimulatedNetwork


def left_on(*nodes: Node) -> list[object]:
    """Connections of the nodes on which something is still under way."""
    doors = [door for node in nodes for door in (node._routes()._peers, node._routes()._here)]
    found = [one for door in doors for one in getattr(door, "connections", None) or [getattr(door, "_calling", None)]]
    return [one for one in found if one and not (one.session.idle and not one._streams and not len(one.serving))]


# --------------------------------------------------------------------------------------------------------- yielding


@simulated
async def test_what_a_handler_yields_arrives_in_order_wherever_it_runs(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        for owner in ("a", "b"):
            async with a.open(studio.count, key_of(a, owner), 100) as items:
                assert [item async for item in items] == [Update(number) for number in range(100)]
                assert items.outcome == "ok"
        assert left_on(a, b) == []


@simulated
async def test_leaving_the_block_ends_the_handler_and_its_finally_runs_on_the_owner(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        async with a.open(studio.tick, key_of(a, "b")) as items:
            async for _item in items:
                break
        assert studio.seen == ["Cancelled"], "it has ended before the block is left"
        assert items.outcome == "cancelled"
        assert left_on(a, b) == []


@simulated
async def test_a_cancelled_caller_ends_the_handler(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        count = 0
        with trio.move_on_after(3.5):
            async with a.open(studio.tick, key_of(a, "b")) as items:
                async for _item in items:
                    count += 1
        assert (count, studio.seen) == (4, ["Cancelled"])
        assert left_on(a, b) == []


@simulated
async def test_a_handler_waits_while_nobody_reads_what_it_yields(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, _b):
        async with a.open(studio.count, key_of(a, "b"), 1_000, size=10_000) as items:
            await trio.sleep(60)
            begun = len(studio.seen)
            assert 512 * 1024 // 10_100 <= begun <= 512 * 1024 // 10_000 + 1, "as much as the window of a stream takes"
            await anext(items)
            await trio.sleep(60)
            assert len(studio.seen) == begun, "credit returns in steps of half a window"
            assert [item.number async for item in items] == list(range(1, 1_000))


@simulated
async def test_what_was_yielded_before_a_failure_is_read_before_it_is_raised(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        for after in (0, 3, 2_000):
            found = []
            with pytest.raises(HandlerFailed, match=f"ZeroDivisionError: after {after}") as caught:
                async with a.open(studio.breaking, key_of(a, "b"), after) as items:
                    async for item in items:
                        found.append(item)  # noqa: PERF401 - what came before the error is kept
            assert found == list(range(after))
            assert caught.value.maybe_executed
            assert items.outcome == "HandlerFailed"
        assert left_on(a, b) == []


@simulated
async def test_an_error_that_the_service_declares_is_raised_as_itself_at_every_kind_of_call(
    network: SimulatedNetwork,
) -> None:
    service = Service("strict")

    @service.error
    class TooMuchError(Exception):
        pass

    @service.on("yield")
    async def yielding(request: Request) -> AsyncIterator[int]:
        yield 1
        raise TooMuchError("of it")

    @service.on("talk")
    async def talk(channel: Channel[int, int]) -> int:
        raise TooMuchError(await anext(channel))

    async with nodes_at(network, "ab", service) as (a, _b):
        with pytest.raises(TooMuchError, match="of it"):
            async with a.open(yielding, key_of(a, "b")) as items:
                async for _item in items:
                    pass
        async with a.open(talk, key_of(a, "b")) as call:
            await call.send(5)
            with pytest.raises(TooMuchError, match="5"):
                await anext(call)
            with pytest.raises(TooMuchError, match="5"):
                await call.result()


@simulated
async def test_an_item_that_does_not_fit_fails_the_handler(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, _b):
        with pytest.raises(HandlerFailed, match="studio:wrong: an item to be sent: found str 'two', allowed is int"):
            async with a.open(studio.wrong, key_of(a, "b")) as items:
                async for _item in items:
                    pass


@simulated
async def test_an_item_that_the_caller_declares_otherwise_is_refused_there(network: SimulatedNetwork) -> None:
    studio = Studio()
    other = Service("studio")

    @other.on("count")
    async def count(request: Request, up_to: int) -> AsyncIterator[int]:
        yield up_to

    async with nodes_at(network, "ab", studio.service) as (a, b):
        with pytest.raises(RemoteProtocolError, match="studio:count: an item that was received: found dict of 2"):
            async with a.open(count, key_of(a, "b"), 5) as items:
                async for _item in items:
                    pass
        assert left_on(a, b) == []


@simulated
async def test_a_scope_around_a_yield_counts_the_time_in_which_nobody_reads(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, _b):
        async with a.open(studio.patient, key_of(a, "b")) as items:
            await trio.sleep(10)
            last = ""
            async for item in items:
                last = item
        assert last == "tired"


@simulated
async def test_a_nursery_around_a_yield_fails_the_handler_with_its_child(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        found = []
        with pytest.raises(ExceptionGroup) as caught:
            async with a.open(studio.nursery, key_of(a, "b")) as items:
                async for item in items:
                    found.append(item)  # noqa: PERF401 - what came before the error is kept
        assert found == [0, 1, 2]
        (member,) = caught.value.exceptions
        assert isinstance(member, HandlerFailed)
        assert member.type_name == "ZeroDivisionError"
        assert left_on(a, b) == []


@simulated
async def test_the_deadline_ends_a_handler_that_yields_on_its_own_clock(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, _b):
        found = []
        with trio.CancelScope(deadline=trio.current_time() + 2.5) as scope, pytest.raises(DeadlineExceeded):
            async with a.open(studio.tick, key_of(a, "b")) as items:
                scope.deadline = math.inf  # the caller forgets it, the owner does not
                async for item in items:
                    found.append(item)  # noqa: PERF401 - what came before the error is kept
        assert len(found) == 3
        assert items.outcome == "DeadlineExceeded"
        assert studio.seen == ["Cancelled"]


@simulated
async def test_a_lost_owner_ends_the_items_with_an_error(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, _b):
        with pytest.raises(ConnectionLost):
            async with a.open(studio.tick, key_of(a, "b")) as items:
                async for _item in items:
                    for connection in a._routes()._peers.connections:  # type: ignore[attr-defined]
                        connection.close("cut by the test")
        await studio.ended.wait()
        assert studio.seen == ["Cancelled"] or studio.seen == ["StreamLost"]


# ------------------------------------------------------------------------------------------------- the wrong way


@simulated
async def test_each_kind_of_handler_is_called_in_its_own_way_only(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        for owner in ("a", "b"):
            key = key_of(a, owner)
            for cmd, fields, way in (
                ("count", {"up_to": 1}, "studio:count: it yields items: open it"),
                ("chat", {}, "studio:chat: it talks over a channel: open it"),
            ):
                with pytest.raises(InvalidRequest, match=way) as caught:
                    await a.request({"ns": "studio", "cmd": cmd, "key": key, **fields})
                assert not caught.value.maybe_executed
            with pytest.raises(InvalidRequest, match="studio:greet: it returns one value"):
                async with a.open(_as_if_it_yielded(), key, "Ada") as items:
                    async for _item in items:
                        pass
        for endpoint in (studio.count, studio.chat):
            with pytest.raises(InvalidRequest, match="open it"):
                await a.call(endpoint, "k", 1)  # type: ignore[arg-type]
        assert studio.seen == []
        assert left_on(a, b) == []


def _as_if_it_yielded() -> Any:
    other = Service("studio")

    @other.on("greet")
    async def greet(request: Request, name: str) -> AsyncIterator[int]:
        yield 1

    return greet


@simulated
async def test_names_of_the_protocol_are_no_names_of_streams(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, _b):
        with pytest.raises(ConfigError, match="@"):
            a.open(studio.greet.with_streams(**{ITEMS: None}), "k", "Ada")


# -------------------------------------------------------------------------------------------------------- talking


@simulated
async def test_both_sides_talk_over_a_channel_and_the_handler_returns_a_result(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        for owner in ("a", "b"):
            async with a.open(studio.chat, key_of(a, owner), greeting="hi") as call:
                assert await anext(call) == f"hi from {owner}"
                for number in range(3):
                    await call.send(Update(number, "line"))
                    assert await anext(call) == f"{number}: line"
                await call.send_eof()
                assert [line async for line in call] == []
                assert await call.result() == 3
                assert call.outcome == "ok"
        assert left_on(a, b) == []


@simulated
async def test_many_items_go_in_and_one_result_comes_out(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        async with a.open(studio.total, key_of(a, "b")) as call:
            for number in range(1_000):
                await call.send(number)
            assert await call.result() == sum(range(1_000)), "who asks for the result has sent all"
        assert left_on(a, b) == []


@simulated
async def test_a_handler_may_return_before_everything_was_sent(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        async with a.open(studio.first, key_of(a, "b")) as call:
            with pytest.raises(StreamReset):
                for number in range(7, 10**9):
                    await call.send(number)
                    await trio.sleep(0.01)
            assert await call.result() == 7
        assert left_on(a, b) == []


@simulated
async def test_a_handler_may_end_its_direction_and_go_on_receiving(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        async with a.open(studio.half, key_of(a, "b")) as call:
            assert [item async for item in call] == [1]
            await call.send(5)
            await call.send(6)
            assert await call.result() == 11
        assert left_on(a, b) == []


@simulated
async def test_items_are_checked_on_both_sides_of_a_channel(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        key = key_of(a, "b")
        async with a.open(studio.total, key) as call:
            with pytest.raises(InvalidRequest, match="studio:sum: an item to be sent: found str 'x', allowed is int"):
                await call.send("x")  # type: ignore[arg-type]
            await call.send(5)
            assert await call.result() == 5, "nothing of the wrong one was sent"
        untyped = Service("studio")

        @untyped.on("sum")
        async def total(channel: Any) -> Any: ...

        with pytest.raises(InvalidRequest, match="an item that was received: found str 'x', allowed is int") as caught:
            async with a.open(studio.total, key) as call:
                await call._call.streams[ITEMS].objects().send("x")
                await call.result()
        assert caught.value.maybe_executed
        assert left_on(a, b) == []


@simulated
async def test_leaving_the_block_of_a_channel_ends_the_handler(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        async with a.open(studio.chat, key_of(a, "b")) as call:
            await anext(call)
        assert studio.seen == ["Cancelled"]
        assert call.outcome == "cancelled"
        assert left_on(a, b) == []


@simulated
async def test_a_send_that_was_cancelled_half_way_leaves_the_channel_whole(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        async with a.open(studio.hang, key_of(a, "b")):
            pass
        async with a.open(studio.chat, key_of(a, "b")) as call:
            sent = 0
            with trio.move_on_after(5):
                while True:  # neither side reads: both windows fill up
                    await call.send(Update(sent, "x" * 100_000))
                    sent += 1
            assert sent > 5
            texts = []

            async def read() -> None:
                async for line in call:
                    texts.append(line[:3])  # noqa: PERF401

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await call.send(Update(99, "y"))
                await call.send_eof()
            numbers = [int(text.split(":")[0]) for text in texts[1:]]
            assert numbers in ([*range(sent), 99], [*range(sent + 1), 99]), "the one in between arrives whole or not"
        assert left_on(a, b) == []


# --------------------------------------------------------------------------------------------- streams of objects


@simulated
async def test_a_call_carries_streams_of_bytes_and_of_objects_at_once(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        for owner in ("a", "b"):
            both = studio.mix.with_streams(file=b"abc" * 100_000, events=objects(50))
            async with a.open(both, key_of(a, owner)) as call:
                back = [event.number async for event in call.streams["events"].objects(Update)]
                assert back == [-number for number in range(50)]
                assert await call.result() == [300_000, sum(range(50))]
        assert left_on(a, b) == []


@simulated
async def test_objects_come_from_any_iterable_and_are_checked_before_they_leave(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        key = key_of(a, "b")
        listed = Objects([Update(1), Update(2)], Update)
        assert await a.call(studio.mix.with_streams(file=b"", events=listed), key) == [0, 3]
        with pytest.raises(LocalProtocolError, match="an item to be sent: found int 5, allowed is Update"):
            await a.call(studio.mix.with_streams(file=b"", events=Objects([5], Update)), key)
        assert left_on(a, b) == []


@simulated
async def test_bytes_that_are_no_object_reset_their_stream_and_nothing_else(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        key = key_of(a, "b")
        for wrong in (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x01\xff", b"\0\0\0\x05abc"):
            with pytest.raises(ExceptionGroup) as caught:
                async with a.open(studio.mix.with_streams(file=b"", events=wrong), key) as call:
                    await call.result()
            (member,) = caught.value.exceptions
            assert isinstance(member, HandlerFailed)
            assert member.type_name == "swimring.errors.RemoteProtocolError"
        assert await a.call(studio.greet, key, "Ada") == "hello Ada"
        assert len(a._routes()._peers.connections) == 1  # type: ignore[attr-defined]
        assert left_on(a, b) == []


@simulated
async def test_an_item_larger_than_a_message_is_refused_before_it_leaves(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, _b):
        with pytest.raises(HandlerFailed, match=r"an item of 11\d+ bytes; the other side takes 1048576"):
            async with a.open(studio.count, key_of(a, "b"), 1, size=1_100_000) as items:
                await anext(items)
        async with a.open(studio.count, key_of(a, "b"), 3, size=1_000_000) as items:
            assert [len(item.text) async for item in items] == [1_000_000] * 3


# ----------------------------------------------------------------------------------------------------- cancellation


class Orphans(Instrument):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def call_orphaned(self, ns: str, cmd: str, key: object, owner: str) -> None:
        self.told.append((cmd, owner))


@simulated
async def test_a_handler_that_does_not_stop_in_time_is_reported_as_an_orphan(network: SimulatedNetwork) -> None:
    studio, orphans = Studio(), Orphans()
    async with nodes_at(network, "ab", studio.service, instruments=[orphans]) as (a, b):
        async with a.open(studio.deaf, key_of(a, "b")) as items:
            async for _item in items:
                break
            await trio.sleep(1)
            left_at = trio.current_time()
        assert trio.current_time() - left_at == pytest.approx(0.25)
        assert items.outcome == "orphaned"
        assert orphans.told == [("deaf", "b")]
        await studio.ended.wait()
        await trio.sleep(1)
        assert left_on(a, b) == []


@simulated
async def test_cancelling_one_call_leaves_the_streams_of_the_others_alone(network: SimulatedNetwork) -> None:
    studio = Studio()
    async with nodes_at(network, "ab", studio.service) as (a, b):
        key = key_of(a, "b")
        async with a.open(studio.tick, key) as one:
            async with a.open(studio.tick, key) as other:
                await anext(other)
            assert [await anext(one) for _ in range(3)]
            assert one.outcome == "open"
        assert len(a._routes()._peers.connections) == 1  # type: ignore[attr-defined]
        assert left_on(a, b) == []


@simulated
async def test_one_task_may_wait_for_the_result_while_another_learns_that_nobody_reads(
    network: SimulatedNetwork,
) -> None:
    service = Service("brief")

    @service.on("first")
    async def first(channel: Channel[int, int]) -> int:
        async with channel:
            number = await anext(channel)
        await trio.sleep(1)
        return number

    async with nodes_at(network, "ab", service) as (a, b):
        async with a.open(first, key_of(a, "b")) as call, trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(StreamReset):
                    while True:
                        await call.send(7)
                        await trio.sleep(0.01)

            nursery.start_soon(send)
            assert [number async for number in call] == []
            assert await call.result() == 7
        assert left_on(a, b) == []
