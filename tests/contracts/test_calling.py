"""What a caller may rely on: one suite for a node, and for the client on Trio, asyncio and uvloop. Real sockets."""

from __future__ import annotations

import importlib.util
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import pytest
import trio
import trio.testing
from anyio.lowlevel import checkpoint

from swimring.client import Mesh, connect
from swimring.errors import (
    ConnectionLost,
    DeadlineExceeded,
    HandlerFailed,
    InvalidRequest,
    NoSuchHandler,
)
from swimring.node import Node, NodePeer, open_node
from swimring.service import Objects

from .answering import (
    TooMuch,
    Update,
    breaking,
    chat,
    count,
    curt,
    deaf,
    echo,
    ended,
    fetch,
    forever,
    how_many,
    mix,
    note,
    patience,
    refuse,
    reverse,
    running,
    sink,
    trace,
    wait,
    where,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

pytestmark = pytest.mark.anyio

Caller: TypeAlias = Node | Mesh

LOOPS: dict[str, Any] = {
    "node": "trio",
    "client-trio": "trio",
    "client-asyncio": ("asyncio", {"use_uvloop": False}),
    "client-uvloop": ("asyncio", {"use_uvloop": True}),
}


@pytest.fixture(params=list(LOOPS))
def side(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "client-uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("uvloop is not installed")
    return name


@pytest.fixture
def anyio_backend(side: str) -> Any:
    return LOOPS[side]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The name of a cluster, and the address of one of its two nodes."""
    name = f"contract-{abs(hash(str(tmp_path_factory.mktemp('contract')))) % 10**8}"
    with running(name) as address:
        yield name, address


@asynccontextmanager
async def entered(side: str, cluster: tuple[str, str]) -> AsyncIterator[Caller]:
    """A caller, and an end to a test that hangs."""
    name, address = cluster
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(60))
        if side == "node":
            node = await stack.enter_async_context(
                open_node(cluster=name, listen="127.0.0.1:0", join=[address], drain_within=0.5)
            )
            await node.wait_ring("contract", nodes=2)
            yield node
        else:
            yield await stack.enter_async_context(connect(address))


@pytest.fixture
def key(side: str, request: pytest.FixtureRequest) -> str:
    """A key of this test alone."""
    return f"{side}-{request.node.name}"


# ------------------------------------------------------------------------------------------------------ asking once


async def test_a_call_is_answered_by_the_owner_of_its_key(side: str, cluster: tuple[str, str]) -> None:
    async with entered(side, cluster) as caller:
        keys = [f"k{number}" for number in range(20)]
        owners = [caller.lookup(key, service="contract").name for key in keys]
        assert [await caller.call(where, key) for key in keys] == owners
        assert set(owners) == {"a", "b"}
        assert {await caller.call(where) for _ in range(6)} == {"a", "b"}


@pytest.mark.parametrize("message", [5, None, "contract", b"contract", ["ns"], [], {5: "ns"}])
async def test_what_is_no_mapping_is_no_message(side: str, cluster: tuple[str, str], message: Any) -> None:
    async with entered(side, cluster) as caller:
        asked: list[Node | Mesh | NodePeer] = [caller]
        if isinstance(caller, Node):
            asked.append(caller.peer(caller.name))
        for each in asked:
            for ask in (each.request, each.cast):
                with pytest.raises(InvalidRequest, match="a message is a mapping with text keys"):
                    await ask(message)


async def test_a_request_by_message_does_what_a_call_does(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        message = {"ns": "contract", "cmd": "echo", "key": key, "data": b"x" * 500_000}
        assert await caller.request(message) == await caller.call(echo, key, b"x" * 500_000)
        with pytest.raises(NoSuchHandler):
            await caller.request({"ns": "contract", "cmd": "ecko", "key": key})


async def test_an_argument_that_does_not_fit_is_refused_here(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        with pytest.raises(InvalidRequest):
            await caller.call(echo, key, 5)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="yields items: open it"):
            await caller.call(count, key, 5)  # type: ignore[call-overload,arg-type,unused-ignore]


async def test_a_cast_arrives_and_nobody_answers(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        for number in range(3):
            await caller.cast({"ns": "contract", "cmd": "note", "key": key, "what": str(number)})
        arrived = await caller.call(ended, key, 3)
        assert sorted(arrived) == ["0", "1", "2"]


async def test_an_error_is_raised_as_itself_if_it_is_declared(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        with pytest.raises(TooMuch) as caught:
            await caller.call(refuse, key, "declared")
        assert caught.value.args == ("much", 7)
        assert isinstance(caught.value.__cause__, HandlerFailed)
        with pytest.raises(ValueError, match="no"):
            await caller.call(refuse, key, "built in")
        with pytest.raises(HandlerFailed, match="ZeroDivisionError: zero") as failed:
            await caller.call(refuse, key, "other")
        assert (failed.value.key, failed.value.maybe_executed) == (key, True)
        assert failed.value.node == caller.lookup(key, service="contract").name


async def test_the_deadline_travels_as_remaining_time(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        with anyio.fail_after(7):
            assert 5 < await caller.call(patience, key) <= 7


async def test_a_call_that_is_cancelled_has_ended_there_before_its_scope_ends(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async with entered(side, cluster) as caller:
        with anyio.move_on_after(0.2) as scope:
            await caller.call(wait, key)
        assert scope.cancelled_caught
        assert await caller.call(ended, key) == ["Cancelled"]


async def test_the_trace_of_the_caller_is_that_of_the_handler(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        assert await caller.call(trace, key) == ""
        with caller.trace() as begun:
            assert begun is not None
            assert await caller.call(trace, key) == begun.trace_id


async def test_many_calls_at_once_are_all_answered(side: str, cluster: tuple[str, str]) -> None:
    answers: list[bytes] = []
    async with entered(side, cluster) as caller, anyio.create_task_group() as tasks:

        async def ask(number: int) -> None:
            answers.append(await caller.call(echo, f"k{number}", b"%d" % number))

        for number in range(300):
            tasks.start_soon(ask, number)
    assert sorted(answers) == sorted(b"%d" % number for number in range(300))


@pytest.mark.parametrize("side", [one for one in LOOPS if one != "node"], indirect=True)
async def test_a_client_may_have_its_calls_handed_on_by_the_one_node_it_reaches(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    with anyio.fail_after(60):
        async with connect(cluster[1], forward=True) as mesh:
            keys = [f"k{number}" for number in range(20)]
            owners = [mesh.lookup(key, service="contract").name for key in keys]
            assert [await mesh.call(where, key) for key in keys] == owners
            assert set(owners) == {"a", "b"}
            for one in keys:
                await mesh.cast({"ns": "contract", "cmd": "note", "key": f"{key} {one}", "what": "cast"})
                assert await mesh.call(ended, f"{key} {one}") == ["cast"]
                with pytest.raises(TooMuch):
                    await mesh.call(refuse, one, "declared")
            with pytest.raises(NoSuchHandler):
                await mesh.request({"ns": "contract", "cmd": "ecko", "key": key})
            assert "1 connections" in repr(mesh)
            there = next(one for one in (f"{key} {n}" for n in range(100)) if mesh.lookup(one, "contract").name == "b")
            with anyio.move_on_after(0.1) as scope:
                await mesh.call(wait, there)
            assert scope.cancelled_caught
            assert await mesh.call(ended, there) == ["Cancelled"]
            assert "1 connections" in repr(mesh)
            for one in keys:  # streams go to the owner itself
                async with mesh.open(count, one, 3) as items:
                    assert [item.number async for item in items] == [0, 1, 2]
            assert "2 connections" in repr(mesh)


# --------------------------------------------------------------------------------------------------------- yielding


async def test_items_arrive_in_order_and_then_the_end(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(count, key, 1_000) as items:
            assert [item async for item in items] == [Update(number) for number in range(1_000)]
            assert items.outcome == "ok"
        assert await caller.call(ended, key) == ["done"]


async def test_each_item_is_a_turn_for_others_and_a_place_to_be_cancelled(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with entered(side, cluster) as caller, caller.open(count, key, 100) as items:
        assert await anext(items) == Update(0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count_turns)
            await checkpoint()
            turns = 0
            # They have arrived together; on Trio the order of two tasks in a round is a matter of luck.
            assert [(await anext(items)).number for _ in range(60)] == list(range(1, 61))
            assert turns >= 25
            tasks.cancel_scope.cancel()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(items)
        assert scope.cancelled_caught
        assert [item.number async for item in items] == list(range(61, 100))


async def test_everything_that_is_awaited_is_a_place_to_be_cancelled_and_a_turn_for_others(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    message = {"ns": "contract", "cmd": "where", "key": key}
    async with entered(side, cluster) as caller, caller.open(reverse.with_streams(file=None), key) as call:
        stream = call.streams["file"]
        awaited: dict[str, Callable[[], Awaitable[object]]] = {
            "call": lambda: caller.call(where, key),
            "request": lambda: caller.request(message),
            "cast": lambda: caller.cast(message),
            "send": lambda: stream.send(b"x" * 5_000),
            "receive": lambda: stream.receive(10),
            "wait_ring": lambda: caller.wait_ring("contract", nodes=2),
            "send_eof": stream.send_eof,
            "result": call.result,
            "result again": call.result,
        }
        for what, function in awaited.items():
            with anyio.CancelScope() as scope:
                scope.cancel()
                await function()
            assert scope.cancelled_caught, what
            if LOOPS[side] == "trio":
                with trio.testing.assert_checkpoints():
                    await function()
            else:
                await function()


async def test_what_is_larger_than_a_message_may_be_comes_in_items(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(count, key, 30, size=200_000) as items:
            assert sum([len(item.text) async for item in items]) == 6_000_000


async def test_leaving_the_block_ends_the_handler_before_it_is_left(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(forever, key) as items:
            assert await anext(items) == 1
        assert items.outcome == "cancelled"
        assert await caller.call(ended, key) == ["Cancelled"]


async def test_a_cancelled_block_ends_the_handler(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        with anyio.CancelScope() as scope:
            async with caller.open(forever, key) as items:
                async for _item in items:
                    scope.cancel()
        assert scope.cancelled_caught
        assert await caller.call(ended, key) == ["Cancelled"]


async def test_a_handler_that_does_not_end_in_time_is_an_orphan(
    side: str, cluster: tuple[str, str], key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "swimring")
    async with entered(side, cluster) as caller:
        began = anyio.current_time()
        async with caller.open(deaf, key) as items:
            assert await anext(items) == 1
        assert items.outcome == "orphaned"
        assert anyio.current_time() - began >= 0.25
        (told,) = (each for each in caplog.records if getattr(each, "event", "") == "request.orphaned")
        assert "its handler of contract:deaf" in told.getMessage()
        await caller.call(note, f"{key} may end", "now")
        await caller.call(ended, key)


async def test_what_was_yielded_before_a_failure_is_read_before_it_is_raised(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async with entered(side, cluster) as caller:
        for after in (0, 3, 500):
            found: list[int] = []
            with pytest.raises(TooMuch) as caught:
                async with caller.open(breaking, key, after) as items:
                    async for item in items:
                        found.append(item)  # noqa: PERF401 - what came before the error is kept
            assert found == list(range(after))
            assert caught.value.args == ("after", after)
            assert items.outcome == "HandlerFailed"


async def test_a_slow_reader_stops_the_handler_and_no_other_call(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        window = 512 * 1024 // 10_000 + 2
        async with caller.open(count, key, 1_000, size=10_000) as items:
            await anext(items)
            for _ in range(100):
                assert await caller.call(echo, key, b"small") == b"small"
            assert await caller.call(how_many, key) <= window + 26, "a window, and at most half of one returned"
            assert [item.number async for item in items] == list(range(1, 1_000))


async def test_the_deadline_ends_a_handler_on_its_own_clock(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        with anyio.CancelScope(deadline=anyio.current_time() + 0.3) as scope, pytest.raises(DeadlineExceeded):
            async with caller.open(forever, key) as items:
                scope.deadline = anyio.current_time() + 60  # the caller forgets it, the owner does not
                async for _item in items:
                    pass
        assert items.outcome == "DeadlineExceeded"
        assert await caller.call(ended, key) == ["Cancelled"]


async def test_a_lost_connection_ends_the_items_with_an_error_and_the_next_call_makes_another(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async with entered(side, cluster) as caller:
        with pytest.raises(ConnectionLost) as caught:
            async with caller.open(forever, key) as items:
                await anext(items)
                await caller.cast({"ns": "contract", "cmd": "cut", "key": key})
                await anext(items)
        assert caught.value.maybe_executed
        assert (await caller.call(ended, key))[0] in {"Cancelled", "StreamLost"}


# ------------------------------------------------------------------------------------------------ channels and streams


async def test_a_channel_goes_both_ways_and_ends_with_a_result(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(chat, key, greeting="good day") as call:
            assert await anext(call) == "good day"
            for number in range(5):
                await call.send(Update(number, "line"))
                assert await anext(call) == f"{number}: line"
            with pytest.raises(InvalidRequest):
                await call.send("no update")  # type: ignore[arg-type]
            assert await call.result() == 5
            assert [line async for line in call] == []


async def test_one_task_may_send_while_another_receives(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(chat, key) as call, anyio.create_task_group() as tasks:

            async def send() -> None:
                for number in range(1_000):
                    await call.send(Update(number, "x" * 1_000))
                await call.send_eof()

            tasks.start_soon(send)
            assert len([line async for line in call]) == 1_001
            assert await call.result() == 1_000


async def test_streams_are_fed_from_their_sources(side: str, cluster: tuple[str, str], key: str) -> None:
    events = [Update(number) for number in range(100)]
    async with entered(side, cluster) as caller:
        endpoint = mix.with_streams(file=b"x" * 3_000_000, events=Objects(events, Update))
        assert await caller.call(endpoint, key) == [3_000_000, 4950]
        async with caller.open(endpoint, key) as call:
            answers = [update.number async for update in call.streams["events"].objects(Update)]
            assert answers == [-number for number in range(100)]
            assert await call.result() == [3_000_000, 4950]


async def test_a_file_is_a_source(side: str, cluster: tuple[str, str], key: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"y" * 700_000)
    async with entered(side, cluster) as caller:
        assert await caller.call(mix.with_streams(file=Path(path), events=Objects([], Update)), key) == [700_000, 0]


async def test_a_source_that_fails_cancels_the_call_and_is_what_it_raises(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"some"
        raise LookupError("no more")

    async with entered(side, cluster) as caller:
        with pytest.raises(LookupError, match="no more"):
            await caller.call(mix.with_streams(file=source(), events=Objects([], Update)), key)


async def test_a_source_that_fails_with_the_error_of_another_call_is_not_taken_for_complete(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async def relayed() -> AsyncIterator[bytes]:
        yield b"the first half"
        raise ConnectionLost("the second half is somewhere else", owner="elsewhere")

    async with entered(side, cluster) as caller:
        with pytest.raises(ConnectionLost, match="somewhere else") as caught:
            async with caller.open(reverse.with_streams(file=relayed()), key) as call:
                await call.result()
        assert caught.value.owner == "elsewhere"


async def test_what_a_handler_sent_is_read_although_it_does_not_read_what_it_is_fed(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(curt.with_streams(file=b"x" * 2_000_000), key) as call:
            assert await call.result() == "enough"
            assert b"".join([chunk async for chunk in call.streams["file"]]) == b"y" * 100_000


async def fail_at_the_end() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise ZeroDivisionError("while cleaning up")


async def untidy() -> AsyncIterator[bytes]:
    async with anyio.create_task_group() as children:
        children.start_soon(fail_at_the_end)
        yield b"some"
        await anyio.sleep_forever()


async def test_a_source_whose_children_fail_while_it_is_cancelled_harms_no_other_call(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async with entered(side, cluster) as caller, caller.open(reverse.with_streams(file=None), key) as other:
        await other.streams["file"].send(b"before")
        assert await other.streams["file"].receive() == b"before"
        async with caller.open(reverse.with_streams(file=untidy()), key) as call:
            assert await call.streams["file"].receive() == b"some"
        assert call.outcome == "cancelled"
        await other.streams["file"].send(b"after")
        assert await other.streams["file"].receive() == b"after"
        await other.streams["file"].send_eof()
        assert await other.result() == 11


async def test_a_source_whose_children_fail_as_its_connection_ends_is_no_fault_of_ours(
    side: str, cluster: tuple[str, str], key: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(reverse.with_streams(file=untidy()), key) as call:
            assert await call.streams["file"].receive() == b"some"
            await caller.cast({"ns": "contract", "cmd": "cut", "key": key})
            with pytest.raises(ConnectionLost):
                await call.result()
        await caller.call(where, key)
        assert "crashed" not in caplog.text


async def test_a_byte_stream_goes_both_ways_at_once(side: str, cluster: tuple[str, str], key: str) -> None:
    sent = bytes(range(256)) * 12_000
    async with entered(side, cluster) as caller:
        async with caller.open(reverse.with_streams(file=None), key) as call, anyio.create_task_group() as tasks:
            stream = call.streams["file"]

            async def send() -> None:
                await stream.send(sent)
                await stream.send_eof()

            tasks.start_soon(send)
            assert b"".join([chunk async for chunk in stream]) == sent
            assert await call.result() == len(sent)


@pytest.mark.parametrize("most", [0, -1])
async def test_nobody_asks_for_no_bytes_because_none_are_the_end(
    side: str, cluster: tuple[str, str], key: str, most: int
) -> None:
    async with entered(side, cluster) as caller, caller.open(reverse.with_streams(file=None), key) as call:
        stream = call.streams["file"]
        with pytest.raises(ValueError, match="max_bytes must be at least 1"):
            await stream.receive(most)
        await stream.send(b"abc")
        await stream.send_eof()
        assert [await stream.receive(2), await stream.receive(2), await stream.receive(2)] == [b"ab", b"c", b""]


async def test_leaving_with_an_error_resets_the_streams(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        with pytest.raises(LookupError):
            async with caller.open(chat, key) as call:
                await anext(call)
                raise LookupError("of the block")
        assert (await caller.call(ended, key))[0] in {"StreamReset", "Cancelled"}


async def test_streams_come_with_the_answer_and_are_read_in_the_block(
    side: str, cluster: tuple[str, str], key: str
) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(fetch, key, 2_000_000) as call:
            reply = await call.result()
            assert (reply.value, sorted(reply.streams)) == (2_000_000, ["events", "file"])
            assert [item async for item in reply.streams["events"].objects(Update)] == [Update(n) for n in range(3)]
            assert sum([len(chunk) async for chunk in reply.streams["file"]]) == 2_000_000
        assert (await caller.call(fetch, key, 5)).streams == {}, "nobody holds the call open"


async def test_a_stream_that_came_with_an_answer_takes_items_too(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(sink, key) as call:
            reply = await call.result()
            async with reply.streams["in"].objects(Update) as stream:
                for number in range(3):
                    await stream.send(Update(number))
            assert await caller.call(ended, key, 4) == ["0", "1", "2", "done"]


async def test_a_second_task_that_sends_on_a_stream_is_told_so(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        with pytest.raises(ExceptionGroup) as caught:
            async with caller.open(reverse.with_streams(file=None), key) as call, anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(call.streams["file"].send, b"x" * 5_000_000)
        assert {type(error).__name__ for error in caught.value.exceptions} == {"BusyResourceError"}


async def test_nothing_is_sent_after_the_end(side: str, cluster: tuple[str, str], key: str) -> None:
    async with entered(side, cluster) as caller:
        async with caller.open(chat, key) as call:
            assert await call.result() == 0
            with pytest.raises((anyio.ClosedResourceError, trio.ClosedResourceError)):
                await call.send(Update(1))
