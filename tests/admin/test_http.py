from __future__ import annotations

import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import h11
import pytest
import trio
import trio.testing

from swimring.admin.http import HttpRequest, HttpResponse, Send, event, json_response
from swimring.admin.http.server import (
    MAX_BODY,
    MAX_CONNECTIONS,
    MAX_HEAD,
    REQUEST_WITHIN,
    SENT_WITHIN,
    HttpServer,
    open_http,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.admin.http import Answer


async def answer(request: HttpRequest) -> HttpResponse:
    match request.path:
        case "/echo":
            return json_response({"method": request.method, "query": request.query, "body": request.body})
        case "/break":
            raise ZeroDivisionError("a secret")
        case "/stream":
            return HttpResponse(body=ticking, content_type="text/event-stream")
        case "/flood":
            return HttpResponse(body=flooding)
        case _:
            return HttpResponse(status=404, body=b"no")


async def ticking(send: Send) -> None:
    for number in range(10**6):
        await send(event("tick", number))
        await trio.sleep(1)


async def flooding(send: Send) -> None:
    while True:
        await send(b"x" * 65_536)


class Talk:
    """A client's side of one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.http = h11.Connection(h11.CLIENT)

    async def next(self) -> object:
        while (found := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(bytes(await self.stream.receive_some(65_536)))
        return found

    async def ask(self, target: str, *, method: str = "GET", body: bytes = b"", host: str = "localhost:1") -> None:
        headers = [("Host", host), ("Content-Length", str(len(body)))]
        head = self.http.send(h11.Request(method=method, target=target, headers=headers))
        parts = [head, self.http.send(h11.Data(data=body)), self.http.send(h11.EndOfMessage())]
        await self.stream.send_all(b"".join(part or b"" for part in parts))

    async def response(self) -> tuple[int, bytes]:
        head = await self.next()
        assert isinstance(head, h11.Response), head
        body = b""
        while isinstance(piece := await self.next(), h11.Data):
            body += piece.data
        return head.status_code, body


@asynccontextmanager
async def talking(answer: Answer = answer, *, only_local: bool = True) -> AsyncIterator[Talk]:
    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(HttpServer(answer, only_local=only_local).serve, theirs)
        yield Talk(ours)
        await ours.aclose()


async def test_requests_are_answered_one_after_the_other_on_one_connection() -> None:
    async with talking() as talk:
        await talk.ask("/echo?a=1&b=%20x", method="POST", body=b"hello")
        status, body = await talk.response()
        assert (status, json.loads(body)) == (200, {"method": "POST", "query": {"a": "1", "b": " x"}, "body": "hello"})
        talk.http.start_next_cycle()
        await talk.ask("/nothing")
        assert await talk.response() == (404, b"no")


async def test_a_head_is_answered_without_its_body() -> None:
    async with talking() as talk:
        await talk.ask("/echo", method="HEAD")
        assert await talk.response() == (200, b"")


async def test_an_answer_that_fails_tells_the_client_nothing_and_the_log_everything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with talking() as talk:
        await talk.ask("/break")
        status, body = await talk.response()
    assert status == 500
    assert b"secret" not in body
    assert "a secret" in caplog.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8079", "[::1]:8079", "LOCALHOST"])
async def test_this_machine_may_ask(host: str) -> None:
    async with talking() as talk:
        await talk.ask("/echo", host=host)
        assert (await talk.response())[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8079", "localhost.evil.example", ""])
async def test_a_page_that_resolves_its_own_name_to_loopback_is_refused(host: str) -> None:
    async with talking() as talk:
        await talk.ask("/echo", host=host)
        assert (await talk.response())[0] == 421


async def test_a_port_for_other_machines_takes_any_host() -> None:
    async with talking(only_local=False) as talk:
        await talk.ask("/echo", host="node.example")
        assert (await talk.response())[0] == 200


async def test_other_methods_are_refused() -> None:
    async with talking() as talk:
        await talk.ask("/echo", method="DELETE")
        assert (await talk.response())[0] == 405


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"\x16\x03\x01 hello TLS\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * MAX_HEAD, b"431"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n" + b"x" * (MAX_BODY + 1), b"413"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
    ],
    ids=["no HTTP", "too much head", "too much body", "no host"],
)
async def test_what_is_no_request_is_told_so_and_dropped(said: bytes, status: bytes) -> None:
    async with talking() as talk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.stream.send_all, said)
            heard = await talk.stream.receive_some(65_536)
            assert heard.startswith(b"HTTP/1.1 " + status)
            while await talk.stream.receive_some(65_536):
                pass
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", ["//[", "/?" + "&".join(f"a{number}=1" for number in range(33))])
async def test_a_target_that_cannot_be_read_is_the_clients_fault_and_nothing_for_the_log(
    target: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with talking() as talk:
        await talk.ask(target, method=method)
        assert (await talk.response())[0] == 400
        talk.http.start_next_cycle()
        await talk.ask("/nothing")
        assert await talk.response() == (404, b"no")
    assert caplog.text == ""


async def test_the_server_survives_a_client_that_says_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with talking() as talk:
        began = trio.current_time()
        heard = await talk.stream.receive_some(65_536)
        assert heard.startswith(b"HTTP/1.1 408")
        assert trio.current_time() - began == pytest.approx(REQUEST_WITHIN)
        while await talk.stream.receive_some(65_536):
            pass


async def test_a_client_that_sends_its_request_byte_by_byte_has_no_more_time_than_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def dribble(stream: trio.abc.Stream) -> None:
        for byte in b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100:
            await stream.send_all(bytes([byte]))
            await trio.sleep(1)

    async with talking() as talk, trio.open_nursery() as nursery:
        began = trio.current_time()
        nursery.start_soon(dribble, talk.stream)
        assert (await talk.stream.receive_some(65_536)).startswith(b"HTTP/1.1 408")
        assert trio.current_time() - began == pytest.approx(REQUEST_WITHIN)
        nursery.cancel_scope.cancel()


async def test_a_client_that_goes_away_in_the_middle_of_its_request_leaves_nothing_behind() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    server = HttpServer(answer)
    await ours.send_all(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
    await ours.aclose()
    await server.serve(theirs)
    assert server._open == 0


async def test_a_port_that_closes_cancels_who_is_answering(autojump_clock: trio.testing.MockClock) -> None:
    began, ended = trio.Event(), trio.Event()

    async def answer(_request: HttpRequest) -> HttpResponse:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(HttpServer(answer).serve, theirs)
        await Talk(ours).ask("/")
        await began.wait()
        nursery.cancel_scope.cancel()
    assert ended.is_set()
    assert await ours.receive_some(1) == b""


async def test_who_writes_a_body_is_cancelled_when_the_client_goes_away(autojump_clock: trio.testing.MockClock) -> None:
    ended = trio.Event()

    async def answer(_request: HttpRequest) -> HttpResponse:
        return HttpResponse(body=write)

    async def write(send: Send) -> None:
        await send(b"first")
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with talking(answer) as talk:
        await talk.ask("/")
        assert isinstance(await talk.next(), h11.Response)
        assert isinstance(await talk.next(), h11.Data)
        assert not ended.is_set()
        await talk.stream.aclose()
        with trio.fail_after(1):
            await ended.wait()


async def test_an_answer_that_fails_after_it_has_begun_ends_its_connection_and_not_the_port(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse(body=fail if request.path == "/long" else b"short")

    async def fail(send: Send) -> None:
        await send(b"first")
        raise ZeroDivisionError("a secret")

    async with open_http("127.0.0.1", 0, answer, only_local=True) as port:
        for path, expected in (("/long", None), ("/", (200, b"short"))):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                talk = Talk(stream)
                await talk.ask(path)
                if expected is not None:
                    assert await talk.response() == expected
                    continue
                assert isinstance(await talk.next(), h11.Response)
                with pytest.raises(h11.RemoteProtocolError):
                    while True:
                        await talk.next()
    assert "a secret" in caplog.text


async def test_events_arrive_one_by_one(autojump_clock: trio.testing.MockClock) -> None:
    async with talking() as talk:
        await talk.ask("/stream")
        assert isinstance(await talk.next(), h11.Response)
        for number in range(3):
            piece = await talk.next()
            assert isinstance(piece, h11.Data)
            assert bytes(piece.data) == f"event: tick\ndata: {number}\n\n".encode()


async def test_a_client_that_does_not_read_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()  # nothing is taken that is not read
    async with trio.open_nursery() as nursery:
        with trio.fail_after(2 * SENT_WITHIN):
            nursery.start_soon(Talk(ours).ask, "/flood")
            await HttpServer(answer).serve(theirs)
        nursery.cancel_scope.cancel()


async def test_connections_beyond_the_bound_are_closed_unread() -> None:
    server = HttpServer(answer)
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_CONNECTIONS):
            nursery.start_soon(server.serve, trio.testing.memory_stream_pair()[0])
        await trio.testing.wait_all_tasks_blocked()
        ours, theirs = trio.testing.memory_stream_pair()
        await server.serve(theirs)
        assert await ours.receive_some(1) == b""
        nursery.cancel_scope.cancel()


async def test_closing_the_port_leaves_no_socket_half_open() -> None:
    async with open_http("127.0.0.1", 0, answer, only_local=True) as port:
        idle = await trio.open_tcp_stream("127.0.0.1", port)
        streaming = Talk(await trio.open_tcp_stream("127.0.0.1", port))
        await streaming.ask("/stream")
        assert isinstance(await streaming.next(), h11.Response)
    with trio.fail_after(5):
        for stream in (idle, streaming.stream):
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some(65_536):
                    pass
            await stream.aclose()
