"""Peers that mean harm, over the whole of rpc: what they may hold, how long, and what it costs.

The figures of memory were measured with CPython 3.11; the bounds are about twice that.
"""

from __future__ import annotations

import tracemalloc
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from swimring.errors import RemoteProtocolError
from swimring.identity import Address, NodeId
from swimring.mux import CallHeader, Limits, Session, encode_fields
from swimring.mux.frames import Kind, frame

from .wires import PATIENT, End, echo, open_end, open_wires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.rpc import Incoming, Serve

MIB = 1024 * 1024
HALF_A_FRAME = frame(Kind.REQUEST, 0, 1, bytes(1000))[:500]


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


class Mallory:
    """A peer that sends what it likes and reads when it likes."""

    def __init__(self, end: End, stream: trio.abc.Stream) -> None:
        self.end = end
        self.stream = stream
        self.session = Session(me=NodeId("mallory", 1), cluster="test", limits=Limits(), dialled=True)

    async def shake_hands(self) -> None:
        await self.stream.send_all(self.session.bytes_to_send())
        self.session.receive(bytes(await self.stream.receive_some()))

    async def dribble(self, data: bytes, seconds: float) -> None:
        """One byte now and then, for ever after zeros."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for byte in data:
                await self.stream.send_all(bytes([byte]))
                await trio.sleep(seconds)

    async def read_to_the_end(self) -> bytes:
        heard = b""
        with suppress(trio.BrokenResourceError):
            while data := await self.stream.receive_some():
                heard += data
        return heard


@asynccontextmanager
async def mallory_at(
    serve: Serve = echo, *, limits: Limits = PATIENT, blocking: bool = False
) -> AsyncIterator[Mallory]:
    ours, theirs = lockstep_stream_pair() if blocking else memory_stream_pair()
    async with (
        open_wires() as wires,
        open_end(wires, "b", serve, limits=limits) as b,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(b.pool.serve_stream, theirs, Address("mallory", 1), b"")
        yield Mallory(b, ours)
        nursery.cancel_scope.cancel()


async def test_a_hello_that_comes_byte_by_byte_has_five_seconds_in_all(clock: MockClock) -> None:
    async with mallory_at() as mallory:
        before = trio.current_time()
        await mallory.dribble(mallory.session.bytes_to_send(), 1)
        await mallory.read_to_the_end()
        assert trio.current_time() - before <= 7
        assert mallory.end.pool.connections == ()


async def test_a_peer_that_stops_in_the_middle_of_a_frame_is_given_up(clock: MockClock) -> None:
    async with mallory_at(limits=Limits()) as mallory:
        await mallory.shake_hands()
        before = trio.current_time()
        await mallory.stream.send_all(HALF_A_FRAME)
        await mallory.read_to_the_end()
        assert trio.current_time() - before == pytest.approx(15)
        assert mallory.end.pool.connections == ()


async def test_a_flood_of_pings_whose_answers_nobody_reads_ends_the_connection(clock: MockClock) -> None:
    async with mallory_at(limits=Limits(streams=10), blocking=True) as mallory:
        await mallory.shake_hands()
        with suppress(trio.BrokenResourceError):
            for _ in range(5):
                await mallory.stream.send_all(frame(Kind.PING, 0, 0, bytes(8)) * 2_000)
                await wait_all_tasks_blocked()
        await trio.sleep(1)
        assert mallory.end.pool.connections == ()
        assert any("answers wait to be read" in reason for reason in mallory.end.witness.refused)


async def test_calls_that_are_cancelled_as_fast_as_they_are_made_never_run_beyond_the_limit(clock: MockClock) -> None:
    running, most, began = 0, 0, 0

    async def stubborn(incoming: Incoming) -> object:
        nonlocal running, most, began
        incoming.begin()
        running += 1
        began += 1
        most = max(most, running)
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.1)
        finally:
            running -= 1
        return None

    async with mallory_at(stubborn, limits=Limits(streams=50, idle_interval=1e6)) as mallory:
        await mallory.shake_hands()
        session = mallory.session
        for _ in range(40):
            made = []
            while session.has_room(10_000):
                made.append(session.request(CallHeader(cmd="c"), encode_fields({})))
            await mallory.stream.send_all(session.bytes_to_send())
            await wait_all_tasks_blocked()
            for call_id in made:
                session.cancel(call_id, range(0), "again")
            await mallory.stream.send_all(session.bytes_to_send())
            session.receive(bytes(await mallory.stream.receive_some()))
        assert most == 50
        assert began > 100
        await trio.sleep(1)
        assert running == 0
        assert mallory.end.witness.refused == []


async def test_calls_that_are_cancelled_in_the_same_bytes_never_begin(clock: MockClock) -> None:
    began: list[object] = []

    async def note(incoming: Incoming) -> object:
        incoming.begin()
        began.append(incoming)
        return None

    async with mallory_at(note) as mallory:
        await mallory.shake_hands()
        for _ in range(1_000):
            call_id = mallory.session.request(CallHeader(cmd="c"), encode_fields({}))
            mallory.session.cancel(call_id, range(0), "again")
        await mallory.stream.send_all(mallory.session.bytes_to_send())
        while not mallory.session.idle:
            mallory.session.receive(bytes(await mallory.stream.receive_some()))
        assert began == []
        assert mallory.end.leftovers == (0, 0, 0)


async def test_one_call_more_than_the_limit_ends_the_connection_and_its_handlers(clock: MockClock) -> None:
    async def forever(incoming: Incoming) -> object:
        incoming.begin()
        return await trio.sleep_forever()

    async with mallory_at(forever, limits=Limits(streams=50, idle_interval=1e6)) as mallory:
        await mallory.shake_hands()
        message = CallHeader(cmd="c").to_bytes() + encode_fields({})
        calls = [frame(Kind.REQUEST, 1, 1 + 2 * number, message) for number in range(51)]
        await mallory.stream.send_all(b"".join(calls[:50]))
        await wait_all_tasks_blocked()
        assert mallory.end.leftovers[1] == 50
        await mallory.stream.send_all(calls[50])
        assert b"more than 50 open streams" in await mallory.read_to_the_end()
        await trio.sleep(1)
        assert mallory.end.pool.connections == ()
        assert len(mallory.end.witness.outcomes) == 50


def connected() -> tuple[Session, Session]:
    victim = Session(me=NodeId("b", 1), cluster="test", limits=Limits(), dialled=False)
    peer = Session(me=NodeId("mallory", 1), cluster="test", limits=Limits(), dialled=True)
    victim.receive(peer.bytes_to_send())
    peer.receive(victim.bytes_to_send())
    return peer, victim


def test_a_stranger_costs_what_it_may_send() -> None:
    """At most 64 KiB: 62 KiB measured with that many bytes of a hello that never ends."""
    dribble = (b"\xf1" + (64_000).to_bytes(3, "big") + b"\x01" + bytes(8 + 63_000))[: 64 * 1024 - 100]
    victim = Session(me=NodeId("b", 1), cluster="test", limits=Limits(), dialled=False)
    tracemalloc.start()
    try:
        for at in range(0, len(dribble), 1_000):
            victim.receive(dribble[at : at + 1_000])
        assert tracemalloc.get_traced_memory()[0] < 130 * 1024
    finally:
        tracemalloc.stop()
    with pytest.raises(RemoteProtocolError):
        victim.receive_eof()


def test_ten_thousand_streams_at_the_limit_cost_a_few_mebibytes() -> None:
    """588 calls with 16 streams each, and 4 without: measured 2.2 MiB."""
    peer, victim = connected()
    names = tuple("abcdefghijklmnop")
    tracemalloc.start()
    try:
        for _ in range(588):
            peer.request(CallHeader(cmd="c", streams=names), b"\xa0")
        for _ in range(4):
            peer.request(CallHeader(cmd="c"), b"\xa0")
        assert not peer.has_room(100)
        data = peer.bytes_to_send()
        before = tracemalloc.get_traced_memory()[0]
        victim.receive(data)
        assert victim.open_calls + victim.open_streams == 10_000
        assert tracemalloc.get_traced_memory()[0] - before < 5 * MIB
    finally:
        tracemalloc.stop()


def test_messages_that_never_end_cost_their_window_and_no_more() -> None:
    """Begun and not finished, from as many calls as one likes: a window of 4 MiB; measured 4.1 MiB."""
    _, victim = connected()
    victim.bytes_to_send()
    part = bytes(60_000)
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match="exceed the remaining credit"):
            for number in range(1_000):
                victim.receive(frame(Kind.REQUEST, 0, 1 + 2 * number, part))
        assert tracemalloc.get_traced_memory()[1] < 9 * MIB
    finally:
        tracemalloc.stop()
