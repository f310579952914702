"""Streams that a handler hands over with its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import HandlerFailed, StreamReset
from swimring.mux import ResetCode
from swimring.service import Reply

from .nodes import key_of, nodes_at, simulated
from .talking import Library, Update
from .test_streaming import left_on

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork


@simulated
async def test_a_reply_brings_streams_of_bytes_and_of_objects_that_outlive_the_handler(
    network: SimulatedNetwork,
) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        for owner in ("a", "b"):
            async with a.open(library.fetch, key_of(a, owner), 1_000_000) as call:
                reply = await call.result()
                assert reply.value == 1_000_000
                assert sum([len(chunk) async for chunk in reply.streams["file"]]) == 1_000_000
                events = reply.streams["events"].objects(Update)
                assert [event.number async for event in events] == [0, 1, 2]
                assert (await call.result()).streams == reply.streams
            assert left_on(a, b) == []


@simulated
async def test_what_the_caller_writes_into_a_handed_over_stream_arrives(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        async with a.open(library.sink, key_of(a, "b")) as call:
            stream = (await call.result()).streams["in"]
            numbers = stream.objects(Update)
            for number in range(3):
                await numbers.send(Update(number))
            await numbers.send_eof()
            assert b"".join([chunk async for chunk in stream]) == b"all read"
        assert library.seen == [0, 1, 2, "end"]
        await trio.sleep(1)
        assert left_on(a, b) == []


@simulated
async def test_leaving_the_block_ends_the_source_of_a_handed_over_stream(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        async with a.open(library.follow, key_of(a, "b")) as call:
            reply = await call.result()
            async for event in reply.streams["events"].objects(Update):
                if event.number == 3:
                    break
        await library.ended.wait()
        await trio.sleep(1)
        assert library.seen == ["closed"]
        assert left_on(a, b) == []


@simulated
async def test_a_block_left_by_an_error_resets_the_streams_instead_of_ending_them(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        with pytest.raises(ZeroDivisionError):
            async with a.open(library.sink, key_of(a, "b")) as call:
                numbers = (await call.result()).streams["in"].objects(Update)
                await numbers.send(Update(1))
                await trio.sleep(1)
                raise ZeroDivisionError
        await library.ended.wait()
        assert library.seen[0] == 1
        assert library.seen[1] in ("StreamReset", "Cancelled")
        await trio.sleep(1)
        assert left_on(a, b) == []


@simulated
async def test_handed_over_streams_do_not_end_with_the_deadline_of_the_call(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        with trio.CancelScope(deadline=trio.current_time() + 1) as scope:
            async with a.open(library.follow, key_of(a, "b")) as call:
                reply = await call.result()
                scope.deadline += 1000
                async for event in reply.streams["events"].objects(Update):
                    if event.number == 100:
                        break
        assert not scope.cancelled_caught
        await trio.sleep(1)
        assert left_on(a, b) == []


@simulated
async def test_a_plain_call_gets_the_value_and_the_streams_are_given_up(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        for owner in ("a", "b"):
            key = key_of(a, owner)
            assert await a.call(library.follow, key) == Reply("from now on")
            assert await a.request({"ns": "library", "cmd": "follow", "key": key}) == "from now on"
        await trio.sleep(1)
        assert library.seen == ["closed"] * 4
        assert left_on(a, b) == []


@simulated
async def test_streams_of_the_answer_to_a_cast_are_closed(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        await a.cast({"ns": "library", "cmd": "sink", "key": key_of(a, "b")})
        await a.cast({"ns": "library", "cmd": "late", "key": key_of(a, "b"), "seconds": 0.1})
        await trio.sleep(1)
        assert library.seen == [], "nothing was begun"
        assert left_on(a, b) == []


@simulated
async def test_a_call_that_is_cancelled_takes_no_streams(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        key = key_of(a, "b")
        for after in (0.001, 0.999, 1.0, 1.001, 1.002, 1.01, 1.05, 2.0):
            with trio.move_on_after(after):
                async with a.open(library.late, key, 1.0) as call:
                    await call.result()
                    await trio.sleep_forever()
        await trio.sleep(2)
        assert left_on(a, b) == []


@simulated
async def test_a_source_that_fails_resets_its_stream_with_what_it_was(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        async with a.open(library.failing, key_of(a, "b")) as call:
            stream = (await call.result()).streams["file"]
            with pytest.raises(StreamReset, match="its source failed: ZeroDivisionError") as caught:
                while True:
                    await stream.receive()
            assert caught.value.code == ResetCode.FAILED
        assert left_on(a, b) == []


@simulated
async def test_what_cannot_be_handed_over_is_an_error_of_the_handler(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        for what, text in (("none", "has a source"), ("number", "cannot read from int"), ("name", "a name of its own")):
            with pytest.raises(HandlerFailed, match=text):
                await a.call(library.bad, key_of(a, "b"), what)
        assert left_on(a, b) == []


@simulated
async def test_a_handler_with_a_channel_can_hand_streams_over_as_well(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        async with a.open(library.talk, key_of(a, "b")) as call:
            await call.send(1)
            await call.send(2)
            reply = await call.result()
            assert reply.value == 3
            assert await reply.streams["file"].receive() == b"abc"
        await trio.sleep(1)
        assert left_on(a, b) == []


@simulated
async def test_a_lost_connection_ends_the_source_of_a_handed_over_stream(network: SimulatedNetwork) -> None:
    library = Library()
    async with nodes_at(network, "ab", library.service) as (a, b):
        async with a.open(library.follow, key_of(a, "b")) as call:
            events = (await call.result()).streams["events"].objects(Update)
            await anext(events)
            for connection in a._routes()._peers.connections:  # type: ignore[attr-defined]
                connection.close("cut by the test")
            with pytest.raises(Exception, match="ended with its connection"):
                async for _event in events:
                    pass
        await library.ended.wait()
        assert library.seen == ["closed"]
        await trio.sleep(1)
        assert left_on(a, b) == []
