"""A peer that asks and does not read the answers: what that may cost, and what becomes of its calls."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from swimring.errors import CallError, DeadlineExceeded, Overloaded
from swimring.identity import Address, NodeId
from swimring.mux import (
    CallEnded,
    CallHeader,
    CallKind,
    FailureArrived,
    Limits,
    ReplyArrived,
    Session,
    decode_failure,
    encode_fields,
)

from .wires import End, open_end, open_wires

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.mux import Event
    from swimring.rpc import Incoming

WINDOW = 64 * 1024
SMALL = Limits(message_window=WINDOW, message=WINDOW // 2, idle_interval=1e6)
ANSWER = 10_000
MOST = 3 * WINDOW // ANSWER + 2
"""Answers that fit into the peer's window and two more of them, and the one that fills each."""


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


class Asker:
    """A peer that reads only when the test says so."""

    def __init__(self, end: End, stream: trio.abc.Stream, begun: list[object], go: trio.Event) -> None:
        self.end = end
        self.go = go
        self.begun = begun
        self.stream = stream
        self.session = Session(me=NodeId("asker", 1), cluster="test", limits=SMALL, dialled=True)
        self.answers: dict[int, Event] = {}
        self.kept = b""

    async def ask(
        self, *names: str, remaining: float = math.inf, size: int = 0, kind: CallKind = CallKind.REQUEST
    ) -> list[int]:
        ids = []
        for name in names:
            header = CallHeader(cmd=name, remaining=remaining, kind=kind)
            ids.append(self.session.request(header, encode_fields({"padding": bytes(size)})))
        await self.flush()
        return ids

    async def flush(self) -> None:
        while data := self.session.bytes_to_send():
            await self.stream.send_all(data)
        await wait_all_tasks_blocked()

    async def read(self, *, returning_credit: bool = True) -> None:
        """Read until nothing comes any more."""
        if returning_credit:
            await self.stream.send_all(self.kept)
            self.kept = b""
        with trio.move_on_after(0.01):
            while True:
                for event in self.session.receive(bytes(await self.stream.receive_some())):
                    if isinstance(event, ReplyArrived | FailureArrived | CallEnded):
                        self.answers[event.call_id] = event
                if returning_credit:
                    await self.flush()
                else:
                    self.kept += self.session.bytes_to_send()

    def failure(self, call_id: int) -> CallError:
        event = self.answers[call_id]
        assert isinstance(event, FailureArrived)
        error = decode_failure(event.body, key=None, owner="b")
        assert isinstance(error, CallError)
        return error


@asynccontextmanager
async def open_asker() -> AsyncIterator[Asker]:
    begun: list[object] = []
    go = trio.Event()

    async def serve(incoming: Incoming) -> bytes:
        incoming.begin()
        begun.append(incoming.header.cmd)
        if incoming.header.cmd == "later":
            await go.wait()
        return bytes(ANSWER)

    ours, theirs = memory_stream_pair()
    async with open_wires() as wires, open_end(wires, "b", serve, limits=SMALL) as b, trio.open_nursery() as nursery:
        nursery.start_soon(b.pool.serve_stream, theirs, Address("asker", 1), b"")
        asker = Asker(b, ours, begun, go)
        await asker.flush()
        await asker.read()
        yield asker
        nursery.cancel_scope.cancel()


async def test_answers_that_nobody_reads_are_bounded_and_all_come_when_they_are_read(clock: MockClock) -> None:
    async with open_asker() as asker:
        ids = await asker.ask(*["c"] * 200)
        assert len(asker.begun) <= MOST
        await asker.ask("one more")
        assert len(asker.begun) <= MOST
        await asker.read()
        assert len(asker.begun) == 201
        assert all(isinstance(asker.answers[call_id], ReplyArrived) for call_id in ids)
        assert asker.end.leftovers == (0, 0, 0)


async def test_calls_that_were_held_begin_in_the_order_of_their_arrival(clock: MockClock) -> None:
    async with open_asker() as asker:
        await asker.ask(*["early"] * MOST)
        later = [f"late {number}" for number in range(150)]
        for begin in range(0, 150, 10):
            await asker.ask(*later[begin : begin + 10])
        assert set(asker.begun) == {"early"}
        await asker.read()
        assert [name for name in asker.begun if name != "early"] == later


async def test_a_call_that_is_cancelled_while_it_is_held_ends_at_once_and_never_begins(clock: MockClock) -> None:
    async with open_asker() as asker:
        await asker.ask(*["early"] * 50)
        call_id, other = await asker.ask("late", "other")
        jobs = asker.end.leftovers[1]
        asker.session.cancel(call_id, range(0), "never mind")
        await asker.flush()
        assert asker.end.leftovers[1] == jobs - 1
        await asker.read()
        assert isinstance(asker.answers[call_id], CallEnded)
        assert isinstance(asker.answers[other], ReplyArrived)
        assert "late" not in asker.begun


async def test_a_call_whose_deadline_passes_while_it_is_held_never_begins(clock: MockClock) -> None:
    async with open_asker() as asker:
        await asker.ask(*["early"] * 50)
        (call_id,) = await asker.ask("late", remaining=1.0)
        await trio.sleep(2)
        await asker.read()
        assert "late" not in asker.begun
        error = asker.failure(call_id)
        assert isinstance(error, DeadlineExceeded)
        assert not error.maybe_executed


async def test_calls_that_are_held_are_dropped_with_their_connection(clock: MockClock) -> None:
    async with open_asker() as asker:
        await asker.ask(*["early"] * 50)
        await asker.ask("late")
        await asker.ask("late cast", kind=CallKind.CAST)
        await asker.stream.aclose()
        await trio.sleep(10)
        assert "late" not in asker.begun
        assert "late cast" not in asker.begun
        assert len(asker.end.witness.outcomes) == 52, "each is told of once"
        assert asker.end.pool.connections == ()


async def test_held_requests_that_are_large_are_refused_beyond_the_bound(clock: MockClock) -> None:
    async with open_asker() as asker:
        await asker.ask(*["early"] * 50)
        large = []
        for _ in range(10):
            large += await asker.ask("large", size=20_000)
            await asker.read(returning_credit=False)
        await asker.read()
        refused = [call_id for call_id in large if isinstance(asker.answers[call_id], FailureArrived)]
        assert asker.begun.count("large") == 10 - len(refused)
        assert 2 <= len(refused) <= 8
        for call_id in refused:
            error = asker.failure(call_id)
            assert isinstance(error, Overloaded)
            assert not error.maybe_executed


async def test_answers_of_calls_that_ran_already_are_dropped_beyond_a_bound_and_their_callers_are_told(
    clock: MockClock,
) -> None:
    async with open_asker() as asker:
        ids = await asker.ask(*["later"] * 200)
        assert len(asker.begun) == 200
        asker.go.set()
        await wait_all_tasks_blocked()
        await asker.read()
        kept = [call_id for call_id in ids if isinstance(asker.answers[call_id], ReplyArrived)]
        assert 8 * WINDOW // ANSWER <= len(kept) <= 9 * WINDOW // ANSWER + 1
        for call_id in set(ids) - set(kept):
            error = asker.failure(call_id)
            assert isinstance(error, Overloaded)
            assert error.maybe_executed
        assert asker.end.leftovers == (0, 0, 0)
