"""What tentacoli's own tests assert of requests, replies, casts and streams, asserted of ours (T1 to T29)."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.errors import ConnectionLost, HandlerFailed, LocalProtocolError
from swimring.instrument import Instrument
from swimring.service import ByteStream, Objects, Reply, Request, Service

from .nodes import key_of, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.node import Node
    from swimring.testing import SimulatedNetwork


class Outcomes(Instrument):
    def __init__(self) -> None:
        self.handled: list[tuple[str, str]] = []
        self.called: list[tuple[str, str]] = []

    def handler_finished(self, ns: str, cmd: str, key: object, outcome: str, seconds: float) -> None:
        self.handled.append((cmd, outcome))

    def call_finished(self, ns: str, cmd: str, key: object, outcome: str, seconds: float) -> None:
        self.called.append((cmd, outcome))


class Source:
    """Something to read from that notes when it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes:
        await trio.sleep(1)
        return b"more"

    async def aclose(self) -> None:
        self.closed = True


class Tentacles:
    """One handler for each thing that is asked, and what it has seen."""

    def __init__(self) -> None:  # noqa: C901 - one handler beside the other
        self.service = service = Service("tentacles")
        self.seen: list[Any] = []
        self.source = Source()

        @service.on("echo")
        async def echo(request: Request, value: Any) -> Any:
            self.seen.append(value)
            return value

        @service.on("nothing")
        async def nothing(request: Request) -> None:
            self.seen.append("nothing")

        @service.on("fail")
        async def fail(request: Request, text: str) -> None:
            raise ArithmeticError(text)

        @service.on("hang")
        async def hang(request: Request) -> None:
            await trio.sleep_forever()

        @service.on("readable")
        async def readable(request: Request) -> Reply[None]:
            return Reply(None, streams={"words": Objects(["hello", "streams"])})

        @service.on("writable")
        async def writable(request: Request) -> Reply[None]:
            async def take(stream: ByteStream) -> None:
                self.seen.extend([item async for item in stream.objects()])

            return Reply(None, streams={"words": take})

        @service.on("both")
        async def both(request: Request) -> Reply[None]:
            return Reply(None, streams={"words": self._shout})

        @service.on("reads")
        async def reads(request: Request) -> None:
            self.seen.extend([item async for item in request.streams["words"].objects()])

        @service.on("writes")
        async def writes(request: Request) -> None:
            words = request.streams["words"].objects()
            for word in ("hello", "streams"):
                await words.send(word)

        @service.on("mirror")
        async def mirror(request: Request) -> None:
            await self._shout(request.streams["words"])

        @service.on("drop")
        async def drop(request: Request) -> Reply[None]:
            return Reply(None, streams={"words": self.source})

        self.echo, self.nothing, self.fail, self.hang = echo, nothing, fail, hang
        self.readable, self.writable, self.both = readable, writable, both
        self.reads, self.writes, self.mirror, self.drop = reads, writes, mirror, drop

    async def _shout(self, stream: ByteStream) -> None:
        words = stream.objects()
        async for word in words:
            await words.send(word if isinstance(word, bytes) else word.upper())


def connections(node: Node) -> Any:
    return node._routes()._peers.connections  # type: ignore[attr-defined]


@simulated
async def test_any_value_is_asked_and_answered_and_none_is_one(network: SimulatedNetwork) -> None:
    """T1, T2, T11, T12."""
    tentacles = Tentacles()
    async with nodes_at(network, "ab", tentacles.service) as (a, _b):
        for owner in ("a", "b"):
            key = key_of(a, owner)
            for value in ("hello", {"hello": ["world", 1, None, b"bytes"]}, None, 0, ""):
                assert await a.call(tentacles.echo, key, value) == value
            await a.call(tentacles.nothing, key)
            assert await a.request({"cmd": "nothing", "key": key}) is None


@simulated
async def test_an_error_of_the_handler_is_the_callers_and_the_handling_side_is_told(network: SimulatedNetwork) -> None:
    """T3; an empty text is an error as well."""
    tentacles, told = Tentacles(), Outcomes()
    async with nodes_at(network, "ab", tentacles.service, instruments=[told]) as (a, _b):
        for text in ("something went wrong", ""):
            with pytest.raises(HandlerFailed) as caught:
                await a.call(tentacles.fail, key_of(a, "b"), text)
            assert (caught.value.type_name, caught.value.message) == ("ArithmeticError", text)
        assert told.handled == [("fail", "ArithmeticError")] * 2
        assert told.called == [("fail", "HandlerFailed")] * 2


@simulated
async def test_a_reply_carries_streams_to_be_read_written_or_both(network: SimulatedNetwork) -> None:
    """T4, T5, T6, T7."""
    tentacles = Tentacles()
    async with nodes_at(network, "ab", tentacles.service) as (a, _b):
        for owner in ("a", "b"):
            key = key_of(a, owner)
            async with a.open(tentacles.readable, key) as call:
                words = (await call.result()).streams["words"].objects()
                assert [word async for word in words] == ["hello", "streams"]
            async with a.open(tentacles.writable, key) as call:
                words = (await call.result()).streams["words"].objects()
                for word in ("hello", "streams"):
                    await words.send(word)
            await trio.sleep(1)
            assert tentacles.seen == ["hello", "streams"]
            async with a.open(tentacles.both, key) as call:
                words = (await call.result()).streams["words"].objects()
                await words.send("hello")
                assert await anext(words) == "HELLO"
                await words.send_eof()
                assert [word async for word in words] == []
            tentacles.seen.clear()


@simulated
async def test_a_request_carries_streams_to_be_read_written_or_both(network: SimulatedNetwork) -> None:
    """T8, T9, T29."""
    tentacles = Tentacles()
    async with nodes_at(network, "ab", tentacles.service) as (a, _b):
        for owner in ("a", "b"):
            key = key_of(a, owner)
            await a.call(tentacles.reads.with_streams(words=Objects(["hello", "streams"])), key)
            assert tentacles.seen == ["hello", "streams"]
            tentacles.seen.clear()
            async with a.open(tentacles.writes.with_streams(words=None), key) as call:
                assert [word async for word in call.streams["words"].objects()] == ["hello", "streams"]
                await call.result()
            async with a.open(tentacles.mirror.with_streams(words=Objects(["a", "b", "c"])), key) as call:
                assert [word async for word in call.streams["words"].objects()] == ["A", "B", "C"]
                await call.result()


@simulated
async def test_bytes_survive_in_streams_of_objects(network: SimulatedNetwork) -> None:
    """T10."""
    tentacles = Tentacles()
    async with nodes_at(network, "ab", tentacles.service) as (a, _b):
        words = [b"\x00\xff", b"", b"hello"]
        async with a.open(tentacles.mirror.with_streams(words=Objects(words)), key_of(a, "b")) as call:
            assert [word async for word in call.streams["words"].objects()] == words


@simulated
async def test_what_cannot_be_a_stream_is_an_error_before_anything_is_sent(network: SimulatedNetwork) -> None:
    """T13, T20."""
    tentacles = Tentacles()
    async with nodes_at(network, "ab", tentacles.service) as (a, _b):
        for wrong in (5, "text", object()):
            call = tentacles.echo.with_streams(words=wrong)  # type: ignore[arg-type]
            with pytest.raises(LocalProtocolError, match="cannot read from"):
                await a.call(call, key_of(a, "b"), "hello")
        assert tentacles.seen == []


@simulated
async def test_a_call_on_a_connection_that_ends_is_an_error_whoever_ended_it(network: SimulatedNetwork) -> None:
    """T14 to T17."""
    tentacles = Tentacles()
    async with nodes_at(network, "ab", tentacles.service) as (a, b):

        async def cut(node: Node) -> None:
            await trio.sleep(1)
            for connection in connections(node):
                connection.close("cut by the test")

        for node in (a, b):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut, node)
                with pytest.raises(ConnectionLost):
                    await a.call(tentacles.hang, key_of(a, "b"))


@simulated
async def test_a_cast_arrives_and_no_answer_of_it_does(network: SimulatedNetwork) -> None:
    """T18, T19, T21, T22."""
    tentacles, told = Tentacles(), Outcomes()
    async with nodes_at(network, "ab", tentacles.service, instruments=[told]) as (a, _b):
        key = key_of(a, "b")
        for value in ("hello", {"hello": "world"}):
            await a.cast({"cmd": "echo", "key": key, "value": value})
        await a.cast({"cmd": "fail", "key": key, "text": "nobody hears"})
        await trio.sleep(1)
        assert tentacles.seen == ["hello", {"hello": "world"}]
        assert told.called == [("echo", "ok"), ("echo", "ok"), ("fail", "ok")]


@simulated
async def test_a_cast_on_a_connection_that_ends_is_no_error(network: SimulatedNetwork) -> None:
    """T25, T26, T27."""
    tentacles = Tentacles()
    async with nodes_at(network, "ab", tentacles.service) as (a, b):
        for node in (a, b):
            await a.cast({"cmd": "hang", "key": key_of(a, "b")})
            for connection in connections(node):
                connection.close("cut by the test")
            await trio.sleep(1)
        await a.call(tentacles.nothing, key_of(a, "b"))


@simulated
async def test_a_stream_in_the_reply_to_a_cast_is_closed_unread(network: SimulatedNetwork) -> None:
    """T28."""
    tentacles = Tentacles()
    async with nodes_at(network, "ab", tentacles.service) as (a, _b):
        await a.cast({"cmd": "drop", "key": key_of(a, "b")})
        await trio.sleep(0.5)
        assert tentacles.source.closed


@simulated
async def test_hundreds_of_casts_and_open_calls_block_nobody(network: SimulatedNetwork) -> None:
    """Defect 9: a hundred of either are the end of a connection there."""
    tentacles = Tentacles()
    async with nodes_at(network, "ab", tentacles.service) as (a, _b), trio.open_nursery() as nursery:
        key = key_of(a, "b")
        for _ in range(300):
            await a.cast({"cmd": "hang", "key": key})
            nursery.start_soon(a.call, tentacles.hang, key)
        assert await a.call(tentacles.echo, key, "hello") == "hello"
        nursery.cancel_scope.cancel()


@simulated
async def test_an_unread_stream_blocks_no_other_stream_and_no_call(network: SimulatedNetwork) -> None:
    """Defect 10."""
    tentacles = Tentacles()

    async def plenty() -> AsyncIterator[bytes]:
        while True:
            yield bytes(100_000)

    async with nodes_at(network, "ab", tentacles.service) as (a, _b):
        key = key_of(a, "b")
        async with a.open(tentacles.mirror.with_streams(words=Objects(plenty())), key):
            await trio.sleep(1)
            assert await a.call(tentacles.echo, key, "hello") == "hello"
            async with a.open(tentacles.readable, key) as call:
                words = (await call.result()).streams["words"].objects()
                assert [word async for word in words] == ["hello", "streams"]
