"""Credit that all streams of a connection share: handed out in turn, and cheap to hand out in crumbs."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from swimring.codec import encode
from swimring.identity import Address, NodeId
from swimring.mux import CallHeader, Limits, Session, encode_fields
from swimring.mux.frames import HEADER, HEADER_SIZE, MAX_STREAM_ID, Kind, frame

from .wires import PATIENT, End, open_end, open_wires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.rpc import Incoming

WRITERS = 200
CRUMBS = 50
KIB = 1024
TIGHT = Limits(connection_window=64 * KIB)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


class Steps(trio.abc.Instrument):
    """Counts the turns that tasks get."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


class Reader:
    """A peer that asks for many streams at once, reads, and gives back credit as the test says."""

    def __init__(self, end: End, stream: trio.abc.Stream, window: Limits) -> None:
        self.end = end
        self.stream = stream
        self.session = Session(me=NodeId("reader", 1), cluster="test", limits=window, dialled=True)
        self.heard: Counter[int] = Counter()
        self._tail = b""

    async def ask(self, calls: int) -> None:
        await self.stream.send_all(self.session.bytes_to_send())
        self.session.receive(bytes(await self.stream.receive_some()))
        for _ in range(calls):
            self.session.request(CallHeader(ns="s", cmd="c", streams=("s",)), encode_fields({}))
        while data := self.session.bytes_to_send():
            await self.stream.send_all(data)
        await wait_all_tasks_blocked()

    async def listen(self) -> int:
        """Read what has arrived; how many bytes of streams that were."""
        before = self.heard.total()
        with trio.move_on_after(0.1):
            while data := await self.stream.receive_some():
                self._tail += data
                while len(self._tail) >= HEADER_SIZE:
                    word, rest = HEADER.unpack_from(self._tail)
                    end = HEADER_SIZE + (word >> 8)
                    if len(self._tail) < end:
                        break
                    if word & 0xFF == Kind.DATA:
                        self.heard[rest & MAX_STREAM_ID] += word >> 8
                    self._tail = self._tail[end:]
        return self.heard.total() - before

    async def give(self, credit: int, stream_id: int = 0) -> None:
        await self.stream.send_all(frame(Kind.CREDIT, 0, stream_id, credit.to_bytes(4, "big")))


async def write_for_ever(incoming: Incoming) -> None:
    with suppress(trio.BrokenResourceError):
        while True:
            await incoming.streams["s"].send(bytes(10 * KIB))


@asynccontextmanager
async def reading(window: Limits = TIGHT, *, blocking: bool = False) -> AsyncIterator[Reader]:
    ours, theirs = lockstep_stream_pair() if blocking else memory_stream_pair()
    async with (
        open_wires() as wires,
        open_end(wires, "b", write_for_ever, limits=PATIENT) as b,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(b.pool.serve_stream, theirs, Address("reader", 1), b"")
        yield Reader(b, ours, window)
        nursery.cancel_scope.cancel()


async def test_a_byte_of_credit_wakes_one_writer_and_not_all_of_them(clock: MockClock) -> None:
    async with reading() as reader:
        await reader.ask(WRITERS)
        assert await reader.listen() == TIGHT.connection_window
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for _ in range(CRUMBS):
            await reader.give(1)
            await wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(steps)
        assert await reader.listen() == CRUMBS
        assert steps.count < CRUMBS * 12  # the reader, the writer, this test, the handler


async def test_everybody_has_a_turn_before_anybody_has_a_second(clock: MockClock) -> None:
    async with reading() as reader:
        await reader.ask(WRITERS)
        await reader.listen()
        reader.heard.clear()
        for _ in range(WRITERS * 2):
            await reader.give(10)
            await reader.listen()
        # Who has had part of what it wants goes to the end of the line.
        assert len(reader.heard) == WRITERS
        assert set(reader.heard.values()) == {20}


async def test_more_credit_than_one_writer_can_use_reaches_the_next(clock: MockClock) -> None:
    async with reading(Limits(connection_window=64 * KIB, stream_window=16 * KIB)) as reader:
        await reader.ask(6)
        assert await reader.listen() == 64 * KIB
        await reader.give(64 * KIB)
        assert await reader.listen() == 32 * KIB  # the rest is nobody's: all have spent their own
        assert sorted(reader.heard.values()) == [16 * KIB] * 6
        spent = min(reader.heard)
        await reader.give(5, spent)
        assert await reader.listen() == 5


async def test_credit_of_what_a_reset_takes_back_goes_to_those_who_wait(clock: MockClock) -> None:
    async with reading(blocking=True) as reader:
        async with trio.open_nursery() as asking:
            asking.start_soon(reader.ask, 3)
            await wait_all_tasks_blocked()
            asking.cancel_scope.cancel()
        connection = reader.end.pool.connections[0]
        streams = list(connection._streams._streams.values())
        assert sum(stream.sent for stream in streams) == TIGHT.connection_window
        # Nobody reads, so some of it is still here.
        unsent = next(one for one in streams if connection.session._line.outbox.has_bulk(one.stream_id))
        unsent.reset(1, "never mind")
        await wait_all_tasks_blocked()
        assert sum(stream.sent for stream in streams) > TIGHT.connection_window


async def test_a_writer_that_is_cancelled_in_line_leaves_its_place_to_the_next(clock: MockClock) -> None:
    async with reading() as reader:
        await reader.ask(3)
        await reader.listen()
        first = 3  # the stream of the first call
        await reader.stream.send_all(frame(Kind.CANCEL, 0, first - 2, encode(["never mind"])))
        await wait_all_tasks_blocked()
        reader.heard.clear()
        await reader.give(30)
        assert await reader.listen() == 30
        assert first not in reader.heard
