"""Named byte streams between two pools."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from swimring.errors import ConnectionLost, HandlerFailed, LocalProtocolError, StreamLost, StreamReset
from swimring.mux import Limits, ResetCode
from swimring.rpc import Incoming, Outgoing

from .wires import fail_while_cancelled, two_ends

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from swimring.service import HeldCall

SMALL = Limits(stream_window=16 * 1024, connection_window=64 * 1024, idle_interval=1e6)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def digest(incoming: Incoming) -> str:
    incoming.begin()
    hashed = hashlib.sha256()
    async with incoming.streams["file"] as file:
        async for chunk in file:
            hashed.update(chunk)
    return hashed.hexdigest()


async def mirror(incoming: Incoming) -> int:
    count = 0
    async with incoming.streams["talk"] as talk:
        async for chunk in talk:
            count += len(chunk)
            await talk.send(chunk[::-1])
    return count


BLOB = bytes(range(256)) * 4096  # 1 MiB, twice the window of a stream


async def chunks() -> AsyncIterator[bytes]:
    for start in range(0, len(BLOB), 10_000):
        yield BLOB[start : start + 10_000]


async def test_a_stream_is_fed_from_bytes_a_file_chunks_or_a_stream(clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    ours, theirs = memory_stream_pair()

    async def fill() -> None:
        await ours.send_all(BLOB)
        await ours.aclose()

    async with two_ends(digest) as (a, b, _), trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        peer = await a.to(b)
        for source in (BLOB, bytearray(BLOB), memoryview(BLOB), chunks(), theirs):
            async with peer.open(Outgoing(cmd="c", streams={"file": source})) as call:
                assert await call.result() == hashlib.sha256(BLOB).hexdigest()
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_stream_is_fed_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    async with two_ends(digest) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"file": path})) as call:
            assert await call.result() == hashlib.sha256(BLOB).hexdigest()


async def test_both_sides_talk_on_one_stream(clock: MockClock) -> None:
    async with two_ends(mirror) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"talk": None})) as call:
            talk = call.streams["talk"]
            for word in (b"one", b"two", b"three"):
                await talk.send(word)
                assert await talk.receive() == word[::-1]
            await talk.send_eof()
            assert await talk.receive() == b""
            assert await call.result() == 11
            assert await call.result() == 11
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_what_the_handler_wrote_before_it_returned_can_be_read_after_the_result(clock: MockClock) -> None:
    async def write(incoming: Incoming) -> str:
        await incoming.streams["log"].send(b"x" * 300_000)
        return "done"

    async with two_ends(write) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"log": None})) as call:
            assert await call.result() == "done"
            size = sum([len(chunk) async for chunk in call.streams["log"]])
        assert size == 300_000
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_slow_reader_stops_its_writer_and_nobody_else(clock: MockClock) -> None:
    go = trio.Event()

    async def serve(incoming: Incoming) -> object:
        if incoming.message["cmd"] == "ping":
            return "pong"
        await go.wait()
        return await digest(incoming)

    async with two_ends(serve, limits=SMALL) as (a, b, _):
        peer = await a.to(b)
        async with peer.open(Outgoing(cmd="slow", streams={"file": None})) as slow:
            stream = slow.streams["file"]
            with trio.move_on_after(1):
                await stream.send(BLOB)
            assert stream.sent == SMALL.stream_window
            assert await peer.request(Outgoing(cmd="ping")) == "pong"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send, BLOB[stream.sent :])
                await wait_all_tasks_blocked()
                go.set()
            await stream.send_eof()
            assert await slow.result() == hashlib.sha256(BLOB).hexdigest()


async def test_unread_streams_beyond_the_connection_window_do_not_stop_calls(clock: MockClock) -> None:
    async def serve(incoming: Incoming) -> object:
        if incoming.streams:
            await trio.sleep(math.inf)
        return "pong"

    async with two_ends(serve, limits=SMALL) as (a, b, _):
        peer = await a.to(b)
        async with trio.open_nursery() as nursery:

            async def stuff() -> None:
                async with peer.open(Outgoing(cmd="c", streams={"file": BLOB})) as call:
                    await call.result()

            for _ in range(8):
                nursery.start_soon(stuff)
            await wait_all_tasks_blocked()
            assert await peer.request(Outgoing(cmd="ping", fields={"pad": bytes(10_000)})) == "pong"
            nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert a.leftovers == b.leftovers == (0, 0, 0)
        connection = b.pool.connections[0]
        assert connection.session._line.window._room + connection.session._line.window._owed == SMALL.connection_window


async def test_a_handler_that_leaves_its_stream_early_does_not_fail_the_call(clock: MockClock) -> None:
    async def peek(incoming: Incoming) -> bytes:
        async with incoming.streams["file"] as file:
            return await file.receive(4)

    async with two_ends(peek) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"file": BLOB})) as call:
            assert await call.result() == BLOB[:4]
        await wait_all_tasks_blocked()
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_handler_that_fails_resets_its_streams(clock: MockClock) -> None:
    async def fail(incoming: Incoming) -> None:
        incoming.begin()
        async with incoming.streams["file"] as file:
            await file.receive()
            raise ValueError("no")

    async with two_ends(fail) as (a, b, _), (await a.to(b)).open(Outgoing(cmd="c", streams={"file": None})) as call:
        await call.streams["file"].send(b"x")
        with pytest.raises(StreamReset, match="ValueError") as caught:
            await call.streams["file"].receive()
        assert caught.value.code == ResetCode.FAILED
        with pytest.raises(HandlerFailed, match="no"):
            await call.result()


async def test_leaving_the_block_cancels_the_handler_and_its_streams(clock: MockClock) -> None:
    ended = trio.Event()

    async def forever(incoming: Incoming) -> None:
        try:
            async with incoming.streams["talk"] as talk:
                async for _ in talk:
                    pass
        finally:
            ended.set()

    async with two_ends(forever) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"talk": None})) as call:
            await call.streams["talk"].send(b"hello")
            await wait_all_tasks_blocked()
        assert ended.is_set()
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_cancelled_send_leaves_the_connection_whole(clock: MockClock) -> None:
    async def serve(incoming: Incoming) -> object:
        if incoming.streams:
            await trio.sleep(math.inf)
        return incoming.message["n"]

    async with two_ends(serve, limits=SMALL) as (a, b, _):
        peer = await a.to(b)
        for number in range(20):
            with trio.move_on_after(0.1):
                async with peer.open(Outgoing(cmd="c", streams={"file": None})) as call:
                    await call.streams["file"].send(BLOB)
            assert await peer.request(Outgoing(cmd="c", fields={"n": number})) == number
        assert a.leftovers == b.leftovers == (0, 0, 0)
        assert a.witness.refused == b.witness.refused == []


async def test_a_stream_that_loses_its_connection_says_how_much_it_had_read(clock: MockClock) -> None:
    lost: list[int] = []

    async def read(incoming: Incoming) -> None:
        try:
            async for _ in incoming.streams["file"]:
                pass
        except StreamLost as error:
            lost.append(error.offset)
            raise

    async with two_ends(read) as (a, b, wires):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"file": None})) as call:
            await call.streams["file"].send(b"x" * 1000)
            await wait_all_tasks_blocked()
            wires.cut()
            await wait_all_tasks_blocked()
            with pytest.raises(StreamLost):
                await call.streams["file"].send(b"more")
        assert lost == [1000]


async def test_the_error_of_a_source_is_what_the_result_raises(clock: MockClock) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"begin"
        raise OSError("disk on fire")

    async with two_ends(digest) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"file": broken()})) as call:
            with pytest.raises(OSError, match="disk on fire"):
                await call.result()
        await wait_all_tasks_blocked()
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_several_tasks_may_wait_for_one_result_and_leaving_the_block_may_interrupt_them(clock: MockClock) -> None:
    async def think(incoming: Incoming) -> str:
        await trio.sleep(1 if incoming.message["cmd"] == "short" else math.inf)
        return "thought"

    async with two_ends(think) as (a, b, _), trio.open_nursery() as nursery:
        peer, heard = await a.to(b), []

        async def wait(call: HeldCall) -> None:
            try:
                heard.append(await call.result())
            except ConnectionLost as error:
                heard.append(error.reason)

        async with peer.open(Outgoing(cmd="short", streams={"talk": None})) as call, trio.open_nursery() as both:
            both.start_soon(wait, call)
            both.start_soon(wait, call)
        async with peer.open(Outgoing(cmd="long", streams={"talk": None})) as call:
            nursery.start_soon(wait, call)
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert heard == ["thought", "thought", "the call was cancelled"]
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_source_whose_children_fail_while_it_is_cancelled_breaks_nothing_else(clock: MockClock) -> None:
    async def untidy() -> AsyncIterator[bytes]:
        await fail_while_cancelled()
        yield b"never"

    async with two_ends(digest) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"file": untidy()})) as call:
            await wait_all_tasks_blocked()
            (connection,) = a.pool.connections
            connection.close("somebody closed it")
            with pytest.raises(ConnectionLost):
                await call.result()
        assert isinstance(call.source_failure, ExceptionGroup)
        assert a.witness.failed_duties == []
        await trio.sleep(1)
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_source_that_cannot_be_read_is_refused_before_anything_is_sent(clock: MockClock) -> None:
    async with two_ends(digest) as (a, b, _):
        with pytest.raises(LocalProtocolError, match="cannot read from int"):
            async with (await a.to(b)).open(Outgoing(cmd="c", streams={"file": 7})):
                pass


async def test_two_tasks_cannot_read_one_stream(clock: MockClock) -> None:
    async with two_ends(mirror) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"talk": None})) as call:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call.streams["talk"].receive)
                await wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await call.streams["talk"].receive()
                nursery.cancel_scope.cancel()


async def test_a_closed_stream_says_so(clock: MockClock) -> None:
    async with two_ends(mirror) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"talk": None})) as call:
            talk = call.streams["talk"]
            await talk.aclose()
            await talk.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await talk.send(b"x")
            with pytest.raises(trio.ClosedResourceError):
                await talk.receive()


async def test_calls_with_more_streams_than_allowed_wait_until_others_are_closed(clock: MockClock) -> None:
    few = Limits(streams=3, idle_interval=1e6)
    async with two_ends(digest, limits=few) as (a, b, _):
        peer = await a.to(b)
        right = 0

        async def upload() -> None:
            nonlocal right
            async with peer.open(Outgoing(cmd="c", streams={"file": BLOB})) as call:
                answer = await call.result()
            right += answer == hashlib.sha256(BLOB).hexdigest()

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(upload)
        assert right == 10
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_small_pieces_leave_and_are_read_together_and_others_have_their_turns(clock: MockClock) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with two_ends(mirror) as (a, b, _), trio.open_nursery() as nursery:
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"talk": None})) as call:
            talk = call.streams["talk"]
            nursery.start_soon(count)
            for number in range(3_200):
                await talk.send(number.to_bytes(2, "big"))
            assert 50 <= turns <= 1_600, "not one for each piece, and not none"
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await talk.send_eof()
                pieces = [piece async for piece in talk]
                assert await call.result() == 6_400
            assert sum(map(len, pieces)) == 6_400
            assert len(pieces) < 1_600


async def test_a_call_has_hundreds_of_streams_each_of_which_goes_both_ways() -> None:
    names = [f"part-{number}" for number in range(300)]

    async def reverse_all(incoming: Incoming) -> int:
        incoming.begin()

        async def reverse(name: str) -> None:
            async with incoming.streams[name] as part:
                await part.send(b"".join([chunk async for chunk in part])[::-1])

        async with trio.open_nursery() as nursery:
            for name in incoming.streams:
                nursery.start_soon(reverse, name)
        return len(incoming.streams)

    async with two_ends(reverse_all) as (a, b, _):
        peer = await a.to(b)
        async with peer.open(Outgoing(cmd="c", streams={name: name.encode() for name in names})) as call:
            assert await call.result() == 300
            for name in names:
                assert b"".join([chunk async for chunk in call.streams[name]]) == name.encode()[::-1]
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_call_with_more_streams_than_the_peer_takes_at_all_is_refused_at_once() -> None:
    async with two_ends(mirror, limits=Limits(streams=3)) as (a, b, _):
        peer = await a.to(b)
        with pytest.raises(LocalProtocolError, match="at most 3 open streams"):
            async with peer.open(Outgoing(cmd="c", streams=dict.fromkeys("abc"))):
                raise AssertionError
        assert a.leftovers == b.leftovers == (0, 0, 0)
