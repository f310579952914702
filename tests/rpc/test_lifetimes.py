"""How long calls live: those without streams have a bound, streams need a connection that answers, orphans are told."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock

from swimring.errors import DeadlineExceeded, StreamLost, StreamReset
from swimring.instrument import Instrument
from swimring.mux import ITEMS, Limits, ResetCode
from swimring.rpc import Incoming, Outgoing

from .wires import two_ends

SHORT = Limits(call_lifetime=60, idle_interval=10, idle_patience=5)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def hang(incoming: Incoming) -> object:
    incoming.begin()
    await trio.sleep(math.inf)
    return None


async def test_a_call_without_streams_ends_after_the_longest_lifetime(clock: MockClock) -> None:
    async with two_ends(hang, limits=SHORT) as (a, b, _):
        with pytest.raises(DeadlineExceeded) as caught:
            await (await a.to(b)).request(Outgoing(cmd="c"))
        assert caught.value.maybe_executed
        assert 60 <= trio.current_time() <= 75, "a sweep now and then finds it"
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_call_with_streams_lives_as_long_as_its_connection_answers(clock: MockClock) -> None:
    async with two_ends(hang, limits=SHORT) as (a, b, wires):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={"talk": None})) as call:
            await trio.sleep(1_000)
            await call.streams["talk"].send(b"still here")
            assert call.outcome == "open"
            wires.cut()
            with pytest.raises(StreamLost):
                await call.streams["talk"].receive()
        assert call.outcome == "ConnectionLost"
        await trio.sleep(1)
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_handler_whose_items_were_reset_ends_although_nobody_cancelled_it(clock: MockClock) -> None:
    ended = trio.Event()

    async def sleep(incoming: Incoming) -> None:
        incoming.begin()
        try:
            await trio.sleep(math.inf)
        finally:
            ended.set()

    async with two_ends(sleep) as (a, b, _):
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={ITEMS: None, "other": None})) as call:
            call.streams["other"].reset(ResetCode.CANCELLED, "not this one")
            await trio.sleep(1)
            assert not ended.is_set()
            call.streams[ITEMS].reset(ResetCode.CANCELLED, "nobody reads them")
            await ended.wait()
            with pytest.raises(StreamReset, match="gave up the items") as caught:
                await call.result()
            assert caught.value.maybe_executed
        ended = trio.Event()
        async with (await a.to(b)).open(Outgoing(cmd="c", streams={ITEMS: None})) as call:
            await call.streams[ITEMS].send_eof()
            call.streams[ITEMS].reset(ResetCode.UNWANTED, "only the result is wanted")
            await trio.sleep(1)
            assert not ended.is_set()
        assert a.leftovers == b.leftovers == (0, 0, 0)


class Orphans(Instrument):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def call_orphaned(self, ns: str, cmd: str, key: object, owner: str) -> None:
        self.told.append((cmd, owner))


async def test_a_call_whose_handler_does_not_stop_in_time_is_told_as_an_orphan(clock: MockClock) -> None:
    async def stubborn(incoming: Incoming) -> object:
        incoming.begin()
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return None

    async with two_ends(stubborn) as (a, b, _):
        orphans = Orphans()
        peer = await a.to(b)
        (connection,) = a.pool.connections
        connection.instruments.add(orphans)
        with trio.move_on_after(1):
            await peer.request(Outgoing(cmd="deaf"))
        assert trio.current_time() == pytest.approx(1.25)
        assert orphans.told == [("deaf", "b")]
        await trio.sleep(10)
        assert a.leftovers == b.leftovers == (0, 0, 0)
