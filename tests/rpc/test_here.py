from __future__ import annotations

import contextvars
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from swimring.errors import ConnectionLost, Draining, HandlerFailed, LocalProtocolError, NoSuchHandler, Unreachable
from swimring.identity import NodeId
from swimring.instrument import Instruments
from swimring.rpc import Here, Outgoing, open_here
from swimring.rpc import here as module
from swimring.rpc.here import Pipe, pipe

from .wires import Witness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.rpc import Incoming, Serve

COLOUR: contextvars.ContextVar[str] = contextvars.ContextVar("COLOUR", default="none")


@asynccontextmanager
async def house(serve: Serve) -> AsyncIterator[Here]:
    async with open_here(me=NodeId("me", 7), serve=serve, instruments=Instruments()) as here:
        yield here


def put(**fields: object) -> Outgoing:
    return Outgoing(ns="kv", cmd="put", key="k", fields=fields)


async def echo(incoming: Incoming) -> object:
    incoming.begin()
    return dict(incoming.message)


async def test_values_are_copied_as_if_they_came_from_elsewhere() -> None:
    seen: list[Incoming] = []

    async def keep(incoming: Incoming) -> object:
        seen.append(incoming)
        return incoming.message["value"]

    async with house(keep) as here:
        value = {"list": [1, 2], "tuple": (3,)}
        returned = await here.request(put(value=value))
        assert seen[0].message == {"ns": "kv", "cmd": "put", "key": "k", "value": {"list": [1, 2], "tuple": [3]}}
        assert returned == {"list": [1, 2], "tuple": [3]}
        assert returned is not seen[0].message["value"]
        assert seen[0].message["value"] is not value
        assert seen[0].peer == "me"
        with pytest.raises(LocalProtocolError):
            await here.request(put(value=object()))
        assert await here.request(put(value=1)) == 1


async def test_errors_are_what_they_would_be_from_elsewhere() -> None:
    async def fail(incoming: Incoming) -> object:
        if incoming.message.get("begin"):
            incoming.begin()
            raise ValueError("no")
        raise NoSuchHandler("nearest is ...")

    async with house(fail) as here:
        with pytest.raises(NoSuchHandler, match="nearest") as refused:
            await here.request(put())
        assert (refused.value.key, refused.value.owner, refused.value.maybe_executed) == ("k", "me", False)
        with pytest.raises(HandlerFailed, match="ValueError: no") as failed:
            await here.request(put(begin=True))
        assert (failed.value.key, failed.value.owner, failed.value.maybe_executed) == ("k", "me", True)


async def test_the_deadline_reaches_the_handler_and_a_cancel_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    deadlines: list[float] = []
    ended: list[float] = []

    async def hang(incoming: Incoming) -> None:
        deadlines.append(incoming.deadline)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with house(hang) as here:
        with pytest.raises(trio.TooSlowError), trio.fail_after(5):
            await here.request(put())
        assert deadlines == pytest.approx([5], abs=0.01)
        assert ended == pytest.approx([5], abs=0.01)


async def test_a_cast_runs_on_its_own() -> None:
    done = trio.Event()

    async def slow(incoming: Incoming) -> None:
        await started.wait()
        done.set()

    started = trio.Event()
    async with house(slow) as here:
        await here.cast(put())
        assert not done.is_set()
        started.set()
        await done.wait()


async def test_a_handler_does_not_see_the_context_of_its_caller() -> None:
    async def look(_incoming: Incoming) -> str:
        return COLOUR.get()

    async with house(look) as here:
        COLOUR.set("red")
        assert await here.request(put()) == "none"


async def test_streams_run_both_ways() -> None:
    async def shout(incoming: Incoming) -> int:
        size = 0
        async with incoming.streams["text"] as stream:
            async for chunk in stream:
                size += len(chunk)
                await stream.send(chunk.upper())
        return size

    async with house(shout) as here:
        out = Outgoing(ns="kv", cmd="shout", streams={"text": None})
        async with here.open(out) as call:
            stream = call.streams["text"]
            heard = bytearray()

            async def listen() -> None:
                async for chunk in stream:
                    heard.extend(chunk)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                for _ in range(20):
                    await stream.send(b"abc" * 10_000)
                await stream.send_eof()
            assert await call.result() == 600_000
        assert bytes(heard) == b"ABC" * 200_000


async def test_an_error_of_another_call_keeps_its_owner() -> None:
    async with house(echo) as here:
        with pytest.raises(ConnectionLost) as caught:
            async with here.open(put()):
                raise ConnectionLost("elsewhere", owner="b")
        assert caught.value.owner == "b"


async def test_draining_waits_for_what_runs_and_refuses_the_rest(autojump_clock: trio.testing.MockClock) -> None:
    async def slow(_incoming: Incoming) -> str:
        await trio.sleep(1)
        return "done"

    results: list[Any] = []

    async def call() -> None:
        results.append(await here.request(put()))

    async with house(slow) as here, trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        await here.drain()
        assert 1 <= trio.current_time() < 1.1
        with pytest.raises(Draining):
            await here.request(put())
    assert results == ["done"]


async def test_a_node_that_never_called_itself_drains_at_once() -> None:
    async with house(echo) as here:
        await here.drain()
        assert "not used yet" in repr(here)


async def test_leaving_ends_what_still_runs() -> None:
    cancelled = trio.Event()

    async def hang(_incoming: Incoming) -> None:
        try:
            await trio.sleep(math.inf)
        finally:
            cancelled.set()

    async with house(hang) as here:
        await here.cast(put())
        await trio.testing.wait_all_tasks_blocked()
    assert cancelled.is_set()


async def test_a_pipe_keeps_the_bytes_their_order_and_the_end() -> None:
    one, other = pipe()
    await one.send_all(b"abc")
    await one.send_all(b"")
    await one.send_all(bytearray(b"def"))
    assert await other.receive_some(2) == b"ab"
    assert await other.receive_some() == b"c"
    await other.send_all(memoryview(b"xyz"))
    await one.aclose()
    assert await other.receive_some(100) == b"def"
    assert await other.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"to nobody")
    with pytest.raises(trio.ClosedResourceError):
        await one.receive_some()


async def test_a_pipe_holds_a_sender_whose_reader_is_behind() -> None:
    one, other = pipe()
    with trio.move_on_after(0) as scope:
        for _ in range(17):
            await one.send_all(b"x")
    assert scope.cancelled_caught
    await other.aclose()


async def test_a_call_after_the_end_is_refused_like_one_while_leaving() -> None:
    async def never(incoming: Incoming) -> object:
        raise AssertionError("nobody is here to handle this")

    async with house(never) as here:
        pass
    with pytest.raises(Draining):
        await here.request(put())


class Faulty(Pipe):
    """Breaks in a way that nobody has foreseen."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("a fault of ours")


async def test_a_fault_in_the_connection_to_oneself_ends_that_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    witness = Witness()

    def faulty_pipe() -> tuple[Pipe, Pipe]:
        monkeypatch.undo()
        one, other = pipe()
        return Faulty(one._outgoing, one._incoming), other

    monkeypatch.setattr(module, "pipe", faulty_pipe)
    async with open_here(me=NodeId("me", 7), serve=echo, instruments=Instruments([witness])) as here:
        with pytest.raises(Unreachable, match="a fault of ours"):
            await here.request(put())
        assert witness.failed_duties == ["connection"]
        assert await here.request(put(n=1)) == {"ns": "kv", "cmd": "put", "key": "k", "n": 1}
