"""Requests, casts, errors, deadlines and cancellation between two pools."""

from __future__ import annotations

import contextvars
import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from swimring.errors import (
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    HandlerFailed,
    LocalProtocolError,
    Moved,
    NoSuchHandler,
    Overloaded,
    Unreachable,
)
from swimring.mux import CallHeader, Limits, encode_fields
from swimring.rpc import Incoming, Outgoing

from .wires import PATIENT, echo, fail_while_cancelled, open_end, open_wires, two_ends


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_a_request_brings_back_what_the_handler_returns(clock: MockClock) -> None:
    async with two_ends() as (a, b, _):
        answer = await (await a.to(b)).request(Outgoing(ns="s", cmd="c", key="k", fields={"n": 1}))
        assert answer == {"ns": "s", "cmd": "c", "key": "k", "n": 1}
        assert b.witness.outcomes == ["ok"]


async def test_a_large_message_travels_whole_in_both_directions(clock: MockClock) -> None:
    async with two_ends() as (a, b, _):
        blob = bytes(range(256)) * 3500
        answer = await (await a.to(b)).request(Outgoing(ns="s", cmd="c", fields={"blob": blob}))
        assert answer == {"ns": "s", "cmd": "c", "blob": blob}


async def test_one_connection_carries_calls_of_both_sides(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        await (await a.to(b)).request(Outgoing(cmd="there"))
        await (await b.to(a)).request(Outgoing(cmd="back"))
        assert wires.dials == 1


async def test_many_calls_at_once_get_each_their_own_answer(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        peer = await a.to(b)
        right = 0

        async def ask(number: int) -> None:
            nonlocal right
            answer = await peer.request(Outgoing(cmd="c", fields={"n": number}))
            right += answer == {"cmd": "c", "n": number}

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(ask, number)
        assert right == 500
        assert wires.dials == 1
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_more_calls_than_streams_wait_for_their_turn(clock: MockClock) -> None:
    async def slow(incoming: Incoming) -> object:
        await trio.sleep(1)
        return incoming.message["n"]

    async with two_ends(slow, limits=Limits(streams=4, idle_interval=1e6)) as (a, b, _):
        peer = await a.to(b)
        answers: list[object] = []

        async def ask(number: int) -> None:
            answers.append(await peer.request(Outgoing(cmd="c", fields={"n": number})))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, number)
        assert sorted(map(str, answers)) == sorted(map(str, range(20)))
        assert trio.current_time() >= 5


async def test_a_cast_returns_before_its_handler_and_its_stream_is_given_back(clock: MockClock) -> None:
    done: list[float] = []

    async def slow(_incoming: Incoming) -> None:
        await trio.sleep(5)
        done.append(trio.current_time())

    async with two_ends(slow) as (a, b, _):
        before = trio.current_time()
        await (await a.to(b)).cast(Outgoing(cmd="c"))
        assert trio.current_time() == before
        await trio.sleep(6)
        assert len(done) == 1
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_cast_whose_handler_came_to_its_end_after_the_deadline_is_ok(clock: MockClock) -> None:
    async def thorough(_incoming: Incoming) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    async with two_ends(thorough) as (a, b, _):
        with trio.move_on_after(1):
            await (await a.to(b)).cast(Outgoing(cmd="c"))
        await trio.sleep(6)
        assert b.witness.outcomes == ["ok"]


async def test_the_exception_of_a_handler_arrives_with_type_text_frames_and_cause(clock: MockClock) -> None:
    async def broken(incoming: Incoming) -> object:
        incoming.begin()
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    async with two_ends(broken) as (a, b, _):
        with pytest.raises(HandlerFailed, match="outer") as caught:
            await (await a.to(b)).request(Outgoing(cmd="c", key="k"))
    error = caught.value
    assert (error.type_name, error.message, error.key, error.owner) == ("ValueError", "outer", "k", "b")
    assert "in broken" in error.frames
    assert error.maybe_executed
    assert error.remote_cause is not None
    assert error.remote_cause.type_name == "KeyError"


async def test_a_refusal_before_the_handler_is_known_not_to_have_run(clock: MockClock) -> None:
    async def refuse(_incoming: Incoming) -> object:
        raise Moved("not mine", records=(["c", "10.0.0.3", 7979],))

    async with two_ends(refuse) as (a, b, _):
        with pytest.raises(Moved) as caught:
            await (await a.to(b)).request(Outgoing(cmd="c", key="k"))
    assert not caught.value.maybe_executed
    assert caught.value.records == (["c", "10.0.0.3", 7979],)


async def test_a_call_error_that_a_running_handler_lets_through_may_have_executed(clock: MockClock) -> None:
    async def overloaded_behind(incoming: Incoming) -> object:
        incoming.begin()
        raise Overloaded("somebody behind me", retry_after=2.0)

    async with two_ends(overloaded_behind) as (a, b, _):
        with pytest.raises(Overloaded) as caught:
            await (await a.to(b)).request(Outgoing(cmd="c"))
    assert caught.value.maybe_executed
    assert caught.value.retry_after == 2.0


async def test_a_reply_that_cannot_be_encoded_is_a_failure_of_the_handler(clock: MockClock) -> None:
    async def odd(incoming: Incoming) -> object:
        incoming.begin()
        return object()

    async with two_ends(odd) as (a, b, _):
        with pytest.raises(HandlerFailed, match="no place on the wire"):
            await (await a.to(b)).request(Outgoing(cmd="c"))


async def test_a_reply_that_is_too_large_says_its_size_the_limit_and_the_ways_out(clock: MockClock) -> None:
    async def boast(incoming: Incoming) -> bytes:
        incoming.begin()
        return bytes(40_000)

    async with two_ends(boast, limits=Limits(message=32 * 1024)) as (a, b, _):
        with pytest.raises(HandlerFailed) as caught:
            await (await a.to(b)).request(Outgoing(cmd="c"))
        assert caught.value.type_name == "swimring.errors.LocalProtocolError"
        assert "a reply of 40003 bytes; the caller takes 32768" in str(caught.value)
        assert "yield it in parts, or hand over a stream with a Reply" in str(caught.value)
        assert caught.value.maybe_executed
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_message_that_is_too_large_is_our_own_error_and_nothing_is_sent(clock: MockClock) -> None:
    async with two_ends() as (a, b, _):
        peer = await a.to(b)
        with pytest.raises(LocalProtocolError, match="the peer takes"):
            await peer.request(Outgoing(cmd="c", fields={"blob": bytes(2**20)}))
        assert await peer.request(Outgoing(cmd="c")) == {"cmd": "c"}


async def test_the_deadline_of_the_caller_is_the_deadline_of_the_handler(clock: MockClock) -> None:
    seen: list[float] = []

    async def look(_incoming: Incoming) -> None:
        seen.append(trio.current_effective_deadline() - trio.current_time())

    async with two_ends(look) as (a, b, _):
        peer = await a.to(b)
        with trio.fail_after(2):
            await peer.request(Outgoing(cmd="c"))
        await peer.request(Outgoing(cmd="c"))
        await peer.request(Outgoing(cmd="c"))
    assert seen[0] == pytest.approx(2, abs=0.01)
    assert seen[1] == seen[2] == math.inf


async def test_a_call_without_a_deadline_runs_for_an_hour_at_most(clock: MockClock) -> None:
    async def forever(incoming: Incoming) -> None:
        incoming.begin()
        await trio.sleep(math.inf)

    async with two_ends(forever, limits=Limits()) as (a, b, _):
        before = trio.current_time()
        with pytest.raises(DeadlineExceeded):
            await (await a.to(b)).request(Outgoing(cmd="c"))
        assert trio.current_time() - before == pytest.approx(3600, abs=Limits().idle_interval)


async def test_a_handler_is_cancelled_when_its_callers_deadline_passes(clock: MockClock) -> None:
    ended: list[float] = []

    async def forever(_incoming: Incoming) -> None:
        try:
            await trio.sleep(math.inf)
        finally:
            ended.append(trio.current_time())

    async with two_ends(forever) as (a, b, _):
        peer = await a.to(b)
        before = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(2):
                await peer.request(Outgoing(cmd="c"))
        assert trio.current_time() - before <= 2 + PATIENT.cancel_grace
        await wait_all_tasks_blocked()
        assert ended == [pytest.approx(before + 2, abs=0.01)]
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_deadline_that_is_spent_on_arrival_is_refused_unexecuted(clock: MockClock) -> None:
    ran: list[Incoming] = []

    async def serve(incoming: Incoming) -> None:
        ran.append(incoming)

    async with two_ends(serve) as (a, b, _):
        await a.to(b)
        session = a.pool.connections[0].session
        session.request(CallHeader(cmd="c", remaining=0), encode_fields({}))
        a.pool.connections[0].poke()
        await wait_all_tasks_blocked()
        assert b.witness.outcomes == ["DeadlineExceeded"]
    assert ran == []


async def test_cancelling_the_caller_cancels_the_handler(clock: MockClock) -> None:
    began, ended = trio.Event(), trio.Event()

    async def forever(_incoming: Incoming) -> None:
        began.set()
        try:
            await trio.sleep(math.inf)
        finally:
            ended.set()

    async with two_ends(forever) as (a, b, _):
        peer = await a.to(b)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.request, Outgoing(cmd="c"))
            await began.wait()
            before = trio.current_time()
            nursery.cancel_scope.cancel()
        assert ended.is_set()
        assert trio.current_time() == before
        assert b.witness.outcomes == ["cancelled"]
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_a_caller_waits_for_a_stubborn_handler_no_longer_than_the_grace(clock: MockClock) -> None:
    began = trio.Event()

    async def stubborn(_incoming: Incoming) -> str:
        began.set()
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        return "too late"

    async with two_ends(stubborn) as (a, b, _):
        peer = await a.to(b)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.request, Outgoing(cmd="c"))
            await began.wait()
            before = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - before == pytest.approx(PATIENT.cancel_grace)
        await trio.sleep(20)
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_nobody_waits_for_a_suspect(clock: MockClock) -> None:
    async def stubborn(_incoming: Incoming) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    async with (
        open_wires() as wires,
        open_end(wires, "a", is_suspect=lambda name: name == "b") as a,
        open_end(wires, "b", stubborn) as b,
    ):
        peer = await a.to(b)
        before = trio.current_time()
        with trio.move_on_after(1):
            await peer.request(Outgoing(cmd="c"))
        assert trio.current_time() - before == pytest.approx(1)


async def test_ten_thousand_cancelled_calls_leave_no_task_and_no_stream(clock: MockClock) -> None:
    running = 0

    async def forever(_incoming: Incoming) -> None:
        nonlocal running
        running += 1
        try:
            await trio.sleep(math.inf)
        finally:
            running -= 1

    async with two_ends(forever) as (a, b, _):
        peer = await a.to(b)

        async def ask(number: int) -> None:
            with trio.move_on_after(number % 7 / 10):
                await peer.request(Outgoing(cmd="c"))

        async with trio.open_nursery() as nursery:
            for number in range(10_000):
                nursery.start_soon(ask, number)
        await wait_all_tasks_blocked()
        assert running == 0
        assert a.leftovers == b.leftovers == (0, 0, 0)
        assert len(b.pool._nursery.child_tasks) == len(b.pool._workers._idle)


async def test_nothing_of_one_request_is_seen_by_the_next_on_the_same_worker(clock: MockClock) -> None:
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")
    seen: list[tuple[str, float, trio.lowlevel.Task]] = []

    async def leave_traces(incoming: Incoming) -> None:
        seen.append((mark.get(), trio.current_effective_deadline(), trio.lowlevel.current_task()))
        mark.set("left behind")
        await trio.lowlevel.checkpoint()
        assert mark.get() == "left behind"

    async with two_ends(leave_traces) as (a, b, _):
        peer = await a.to(b)
        with trio.fail_after(1):
            await peer.request(Outgoing(cmd="first"))
        await trio.sleep(5)
        await peer.request(Outgoing(cmd="second"))
    assert [mark for mark, _, _ in seen] == ["unset", "unset"]
    assert seen[0][2] is seen[1][2]
    assert seen[1][1] > trio.current_time() + 1000


async def test_a_worker_that_was_cancelled_serves_the_next_call_uncancelled(clock: MockClock) -> None:
    async def wait(incoming: Incoming) -> str:
        await trio.sleep(incoming.message["seconds"])
        return "rested"

    async with two_ends(wait) as (a, b, _):
        peer = await a.to(b)
        with trio.move_on_after(1):
            await peer.request(Outgoing(cmd="c", fields={"seconds": 100}))
        assert await peer.request(Outgoing(cmd="c", fields={"seconds": 3})) == "rested"
        assert len(b.pool._nursery.child_tasks) <= 2


async def test_children_that_fail_while_their_handler_is_cancelled_break_nothing_else(clock: MockClock) -> None:
    async def untidy(incoming: Incoming) -> str:
        if incoming.message["cmd"] == "fine":
            return "fine"
        await fail_while_cancelled()
        return "never"

    async with two_ends(untidy) as (a, b, _):
        peer = await a.to(b)
        with trio.move_on_after(1):
            await peer.request(Outgoing(cmd="untidy"))
        assert await peer.request(Outgoing(cmd="fine")) == "fine"
        assert b.witness.outcomes == ["ExceptionGroup", "ok"]
        assert a.leftovers == b.leftovers == (0, 0, 0)


async def test_calls_that_were_sent_are_lost_with_the_connection_and_their_handlers_end(clock: MockClock) -> None:
    ended: list[float] = []
    began = trio.Event()

    async def forever(_incoming: Incoming) -> None:
        began.set()
        try:
            await trio.sleep(math.inf)
        finally:
            ended.append(trio.current_time())

    async with two_ends(forever) as (a, b, wires):
        peer = await a.to(b)

        async def ask() -> None:
            with pytest.raises(ConnectionLost) as caught:
                await peer.request(Outgoing(cmd="c", key="k"))
            assert caught.value.maybe_executed
            assert (caught.value.key, caught.value.owner) == ("k", "b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await began.wait()
            before = trio.current_time()
            wires.cut()
        await trio.sleep(1)
        assert a.lost == ["b"]
        assert ended == [pytest.approx(before + PATIENT.cancel_grace)]
        assert b.leftovers == (0, 0, 0)


async def test_of_calls_lost_with_their_connection_those_that_were_not_sent_are_safe_to_repeat(
    clock: MockClock,
) -> None:
    async with two_ends() as (a, b, wires):
        peer = await a.to(b)
        await peer.request(Outgoing(cmd="c"))
        wires.streams[0].send_stream.send_all_hook = trio.sleep_forever  # the writer hangs with what it has taken
        outcomes: dict[str, tuple[type[CallError], bool]] = {}

        async def ask(cmd: str) -> None:
            try:
                await peer.request(Outgoing(cmd=cmd))
            except CallError as error:
                outcomes[cmd] = (type(error), error.maybe_executed)

        async with trio.open_nursery() as nursery:
            for cmd in ("taken", "queued"):
                nursery.start_soon(ask, cmd)
                await wait_all_tasks_blocked()
            wires.cut()
        assert outcomes == {"taken": (ConnectionLost, True), "queued": (Unreachable, False)}


async def test_a_call_nobody_can_be_reached_for_was_never_executed(clock: MockClock) -> None:
    async with two_ends() as (a, b, wires):
        wires.down.add(b.address)
        with pytest.raises(Unreachable) as caught:
            await a.to(b)
        assert not caught.value.maybe_executed
        assert caught.value.retry_after is not None
        assert a.lost == ["b"]


async def test_an_error_of_routing_arrives_as_itself(clock: MockClock) -> None:
    async def nobody(_incoming: Incoming) -> object:
        raise NoSuchHandler("no pattern matches; the nearest is cmd:greet")

    async with two_ends(nobody) as (a, b, _):
        with pytest.raises(NoSuchHandler, match="nearest"):
            await (await a.to(b)).request(Outgoing(cmd="c"))


async def test_an_exception_group_of_a_handler_arrives_with_its_members(clock: MockClock) -> None:
    async def group(_incoming: Incoming) -> object:
        raise ExceptionGroup("two", [ValueError("one"), ExceptionGroup("deep", [KeyError("k")])])

    async with two_ends(group) as (a, b, _):
        with pytest.raises(HandlerFailed) as caught:
            await (await a.to(b)).request(Outgoing(cmd="c"))
    assert [member.type_name for member in caught.value.members] == ["ValueError", "ExceptionGroup"]
    assert caught.value.members[1].members[0].type_name == "KeyError"


async def test_echo_is_what_the_fixture_says(clock: MockClock) -> None:
    async with two_ends(echo) as (a, b, _):
        assert await (await a.to(b)).request(Outgoing(cmd="c", key=b"\x00")) == {"cmd": "c", "key": b"\x00"}
