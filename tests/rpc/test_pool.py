"""Connections: dialling, duplicates, refusals, nonsense, silence, draining."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from swimring.errors import ConnectionLost, Draining, LocalProtocolError, Unreachable
from swimring.identity import Address, NodeId
from swimring.mux import CallHeader, Limits, Session
from swimring.rpc import Incoming, Outgoing

from .wires import PATIENT, End, echo, open_end, open_wires, two_ends

SOMEWHERE = Address("somewhere", 1)


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def sleepy(incoming: Incoming) -> str:
    await trio.sleep(1)
    return "rested"


async def test_callers_who_want_one_peer_at_once_share_one_dial(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(a.to, b)
        assert wires.dials == 1


async def test_a_dial_outlives_the_caller_who_began_it(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        wires.held = trio.Event()
        with trio.move_on_after(0.1):
            await a.to(b)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.to, b)
            await wait_all_tasks_blocked()
            wires.held.set()
        assert wires.dials == 1


async def test_after_a_failed_dial_calls_fail_at_once_until_the_pause_is_over(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        wires.down.add(b.address)
        pauses = []
        for _ in range(8):
            with pytest.raises(Unreachable, match="refused") as caught:
                await a.to(b)
            dials = wires.dials
            with pytest.raises(Unreachable, match="a moment ago"):
                await a.to(b)
            assert wires.dials == dials
            assert caught.value.retry_after is not None
            pauses.append(caught.value.retry_after)
            await trio.sleep(caught.value.retry_after)
        assert pauses[0] <= PATIENT.redial_after
        assert max(pauses) <= PATIENT.redial_at_most
        assert pauses[-1] >= PATIENT.redial_at_most / 2
        wires.down.clear()
        assert await (await a.to(b)).request(Outgoing(cmd="c")) == {"cmd": "c"}


async def test_a_dial_that_hangs_ends_with_its_patience(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        wires.held = trio.Event()
        before = trio.current_time()
        with pytest.raises(Unreachable):
            await a.to(b)
        assert trio.current_time() - before == pytest.approx(PATIENT.dial_within)


async def test_after_a_lost_connection_the_next_call_dials_again(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        peer = await a.to(b)
        await peer.request(Outgoing(cmd="one"))
        wires.cut()
        await wait_all_tasks_blocked()
        assert a.lost == ["b"]
        assert b.lost == ["a"]
        await peer.request(Outgoing(cmd="two"))
        assert wires.dials == 2


async def test_of_two_connections_dialled_at_once_both_sides_keep_the_one_of_the_smaller_name(clock: MockClock) -> None:
    async with two_ends(sleepy) as (a, b, wires):
        wires.held = trio.Event()
        answers: list[object] = []

        async def ask(here: End, there: End) -> None:
            answers.append(await (await here.to(there)).request(Outgoing(cmd="c")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, a, b)
            nursery.start_soon(ask, b, a)
            await wait_all_tasks_blocked()
            wires.held.set()
        assert len(answers) == 2
        assert wires.dials == 2
        await wait_all_tasks_blocked()
        (at_a,), (at_b,) = a.pool.connections, b.pool.connections
        assert at_a.dialled
        assert not at_b.dialled
        assert a.lost == b.lost == []


async def test_a_node_that_came_back_replaces_its_earlier_life(clock: MockClock) -> None:
    async with (
        open_wires() as wires,
        open_end(wires, "b") as b,
        open_end(wires, "a", generation=1) as old,
        open_end(wires, "a", generation=2) as new,
    ):
        await (await old.to(b)).request(Outgoing(cmd="c"))
        await (await new.to(b)).request(Outgoing(cmd="c"))
        await wait_all_tasks_blocked()
        assert [connection.peer for connection in b.pool.connections] == [NodeId("a", 2)]
        with pytest.raises(Unreachable, match="a later life of a is connected"):
            await old.to(b)


async def test_another_cluster_is_refused_by_name_on_both_sides(clock: MockClock) -> None:
    async with (
        open_wires() as wires,
        open_end(wires, "a", cluster="blue") as a,
        open_end(wires, "b", cluster="green") as b,
    ):
        with pytest.raises(Unreachable, match="another cluster"):
            await a.to(b)
        await wait_all_tasks_blocked()
        assert len(b.witness.refused) == 1
        assert "another cluster" in b.witness.refused[0]
        assert a.pool.connections == b.pool.connections == ()


async def test_a_dialled_node_that_has_another_name_is_not_used(clock: MockClock) -> None:
    async with two_ends() as (a, b, _):
        with pytest.raises(Unreachable, match="expected c at that address, found b"):
            await a.pool.peer("c", b.address)


async def test_a_node_does_not_dial_itself(clock: MockClock) -> None:
    async with two_ends() as (a, _b, _):
        with pytest.raises(LocalProtocolError):
            await a.to(a)


async def test_a_peer_without_address_is_reached_over_the_connection_it_opened(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        with pytest.raises(Unreachable, match="no address"):
            await b.pool.peer("a")
        await a.to(b)
        assert await (await b.pool.peer("a")).request(Outgoing(cmd="c")) == {"cmd": "c"}
        assert wires.dials == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xf1" + bytes(12),
        b"\xf1" + b"\xff" * 12,
        b"\xf1" + bytes.fromhex("000003 01 00 00000000000000") + b"\xa1\xa1\xa1",
        b"\xf1" + bytes.fromhex("000001 10 00 00000000000001") + b"\x00",
        b"\xf1\x00",
    ],
)
async def test_nonsense_is_counted_and_ends_one_connection_only(nonsense: bytes, clock: MockClock) -> None:
    async with two_ends() as (a, b, _):
        peer = await a.to(b)
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.pool.serve_stream, theirs, SOMEWHERE, b"")
            await ours.send_all(nonsense)
            await ours.send_eof()
        assert len(b.witness.refused) == 1
        assert await peer.request(Outgoing(cmd="c")) == {"cmd": "c"}


async def test_nonsense_after_the_hello_ends_the_connection_and_says_why(clock: MockClock) -> None:
    async with two_ends() as (_a, b, _):
        ours, theirs = memory_stream_pair()
        session = Session(me=NodeId("evil", 1), cluster="test", limits=PATIENT, dialled=True)
        heard = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.pool.serve_stream, theirs, SOMEWHERE, b"")
            await ours.send_all(session.bytes_to_send() + bytes.fromhex("000000 77 00 00000000000000"))
            async for chunk in ours:
                heard += chunk
        assert b"unknown frame of kind 0x77" in heard
        assert b.witness.refused == ["an unknown frame of kind 0x77"]


async def test_a_malformed_body_of_a_request_ends_the_connection(clock: MockClock) -> None:
    async with two_ends() as (_a, b, _):
        ours, theirs = memory_stream_pair()
        session = Session(me=NodeId("evil", 1), cluster="test", limits=PATIENT, dialled=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.pool.serve_stream, theirs, SOMEWHERE, b"")
            await ours.send_all(session.bytes_to_send())
            session.receive(bytes(await ours.receive_some()))
            session.request(CallHeader(cmd="c"), b"\x01\x02")
            await ours.send_all(session.bytes_to_send())
        assert len(b.witness.refused) == 1


async def test_a_stranger_who_says_nothing_is_dropped_after_five_seconds(clock: MockClock) -> None:
    async with two_ends() as (_a, b, _):
        _ours, theirs = memory_stream_pair()
        before = trio.current_time()
        await b.pool.serve_stream(theirs, SOMEWHERE, b"\xf1")
        assert trio.current_time() - before == pytest.approx(PATIENT.hello_within)
        assert b.witness.refused == ["no hello within 5 s"]


async def test_a_peer_that_falls_silent_is_given_up(clock: MockClock) -> None:
    limits = Limits()
    async with two_ends(limits=limits) as (a, _b, _):
        ours, theirs = memory_stream_pair()
        session = Session(me=NodeId("mute", 1), cluster="test", limits=limits, dialled=True)
        await ours.send_all(session.bytes_to_send())
        before = trio.current_time()
        await a.pool.serve_stream(theirs, SOMEWHERE, b"")
        assert trio.current_time() - before == pytest.approx(limits.idle_interval + limits.idle_patience)
        assert a.lost == ["mute"]


async def test_two_idle_peers_keep_their_connection_by_pings(clock: MockClock) -> None:
    async with two_ends(limits=Limits()) as (a, b, wires):
        await a.to(b)
        await trio.sleep(300)
        assert len(a.pool.connections) == len(b.pool.connections) == 1
        assert wires.dials == 1


async def test_a_connection_that_is_retired_ends_on_both_sides_and_nobody_takes_it_for_lost(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        await a.to(b)
        await wait_all_tasks_blocked()
        b.pool.retire(a.pool.me.name)
        await wait_all_tasks_blocked()
        assert a.pool.connections == b.pool.connections == ()
        assert a.lost == b.lost == []
        await a.to(b)
        assert wires.dials == 2


async def test_a_call_on_a_connection_that_is_being_retired_goes_over_the_next_one(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        peer = await a.to(b)
        a.pool.retire(b.pool.me.name)
        assert await peer.request(Outgoing(cmd="c")) == {"cmd": "c"}
        assert wires.dials == 2


async def test_a_connection_that_carried_a_call_is_not_retired(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        await (await a.to(b)).request(Outgoing(cmd="c"))
        a.pool.retire(b.pool.me.name)
        b.pool.retire(a.pool.me.name)
        await wait_all_tasks_blocked()
        assert await (await b.to(a)).request(Outgoing(cmd="c")) == {"cmd": "c"}
        assert wires.dials == 1


async def test_more_connections_than_allowed_are_turned_away(clock: MockClock) -> None:
    few = Limits(connections=1, idle_interval=1e6)
    async with (
        open_wires() as wires,
        open_end(wires, "hub", limits=few) as hub,
        open_end(wires, "a") as a,
        open_end(wires, "b") as b,
    ):
        await a.to(hub)
        with pytest.raises(Unreachable, match="all the connections"):
            await b.to(hub)
        await hub.to(b)


async def test_more_dials_than_allowed_are_not_begun_and_those_under_way_count(clock: MockClock) -> None:
    few = Limits(dials=1, idle_interval=1e6)
    async with (
        open_wires() as wires,
        open_end(wires, "hub", limits=few) as hub,
        open_end(wires, "a") as a,
        open_end(wires, "b") as b,
    ):
        wires.held = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.to, a)
            await wait_all_tasks_blocked()
            with pytest.raises(Unreachable, match="all the connections it may open"):
                await hub.to(b)
            wires.held.set()
        with pytest.raises(Unreachable, match="all the connections it may open"):
            await hub.to(b)
        await b.to(hub)
        wires.cut()
        await wait_all_tasks_blocked()
        await hub.to(b)


async def test_strangers_who_say_no_hello_shut_nobody_out(clock: MockClock) -> None:
    few = Limits(strangers=3, connections=2, dials=1, idle_interval=1e6)
    async with (
        open_wires() as wires,
        open_end(wires, "hub", limits=few) as hub,
        open_end(wires, "a") as a,
        open_end(wires, "b") as b,
        trio.open_nursery() as nursery,
    ):
        kept = []
        for _ in range(20):
            ours, theirs = memory_stream_pair()
            kept.append(ours)
            nursery.start_soon(hub.pool.serve_stream, theirs, SOMEWHERE, b"\xf1")
        await wait_all_tasks_blocked()
        assert len(hub.pool.connections) == 3
        assert hub.witness.refused == ["too many connections without a hello"] * 17
        await a.to(hub)
        await hub.to(b)
        nursery.cancel_scope.cancel()


async def test_draining_lets_calls_finish_and_takes_no_more(clock: MockClock) -> None:
    async with two_ends(sleepy) as (a, b, _):
        peer = await a.to(b)
        answers: list[object] = []

        async def ask() -> None:
            answers.append(await peer.request(Outgoing(cmd="c")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            before = trio.current_time()
            nursery.start_soon(b.pool.drain)
            await wait_all_tasks_blocked()
            with pytest.raises((Draining, Unreachable)) as caught:
                await peer.request(Outgoing(cmd="late"))
            assert not caught.value.maybe_executed
        assert answers == ["rested"]
        assert trio.current_time() - before == pytest.approx(1)


async def test_a_call_that_crosses_the_goodbye_was_not_executed(clock: MockClock) -> None:
    served: list[Incoming] = []

    async def count(incoming: Incoming) -> None:
        served.append(incoming)

    async with two_ends(count) as (a, b, _):
        peer = await a.to(b)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(Draining) as caught:
                    await peer.request(Outgoing(cmd="c"))
                assert not caught.value.maybe_executed

            for connection in b.pool.connections:
                connection.session.go_away(2, "b is leaving")  # on its way, not read by a yet
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            b.pool.connections[0].poke()
        assert served == []
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_closing_a_pool_ends_its_handlers_and_the_calls_of_its_peers(clock: MockClock) -> None:
    ended = trio.Event()

    async def forever(_incoming: Incoming) -> None:
        try:
            await trio.sleep(math.inf)
        finally:
            ended.set()

    async with open_wires() as wires, open_end(wires, "a") as a, trio.open_nursery() as nursery:
        async with open_end(wires, "b", forever) as b:

            async def ask() -> None:
                with pytest.raises(ConnectionLost):
                    await (await a.to(b)).request(Outgoing(cmd="c"))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
        assert ended.is_set()


async def test_a_handler_that_fails_while_its_pool_closes_does_not_break_the_closing(clock: MockClock) -> None:
    async def untidy(_incoming: Incoming) -> None:
        try:
            await trio.sleep(math.inf)
        finally:
            raise ValueError("while cleaning up")

    async with (
        open_wires() as wires,
        open_end(wires, "a") as a,
        open_end(wires, "b", untidy) as b,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon((await a.to(b)).request, Outgoing(cmd="c"))
        await wait_all_tasks_blocked()
        b.pool.close()
        b.pool._nursery.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def test_a_repr_tells_the_state_in_words(clock: MockClock) -> None:
    async with two_ends(echo) as (a, b, _):
        await a.to(b)
        assert repr(a.pool) == "<Pool of a: 1 connections, 0 dials>"
        assert repr(a.pool.connections[0]) == "<Connection to b: open, 0 out, 0 in>"
        assert repr(a.pool.connections[0].session) == "<Session with b: open, 0 calls, 0 streams>"
