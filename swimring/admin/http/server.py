"""HTTP/1.1 on Trio: h11 parses and frames, a task for each connection reads and writes.

For the few people and monitors that look at a node, not for its traffic: connections, headers, bodies and patience
are bounded, and whoever is over a bound is told so and dropped.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import trio

from swimring.errors import MissingExtra
from swimring.node import lone_error_raised_bare

from .messages import HttpRequest, HttpResponse, problem

try:
    import h11
except ImportError as missing:
    raise MissingExtra("dashboard", "h11") from missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .messages import Answer

MAX_CONNECTIONS: Final = 128
"""Connections at once; the next is closed unread."""
MAX_HEAD: Final = 16 * 1024
"""Bytes of a request's line and headers."""
MAX_BODY: Final = 64 * 1024
"""Bytes of a request's body."""
REQUEST_WITHIN: Final = 30.0
"""Seconds in which a request has to be there, from when the connection is open or the last answer sent."""
SENT_WITHIN: Final = 15.0
"""Seconds in which a client has to take each piece of an answer; a slower one is dropped."""

_READ: Final = 16 * 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ALWAYS: Final = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)

_log = logging.getLogger("swimring.http")


class HttpServer:
    """Answers requests over the streams that it is given."""

    def __init__(self, answer: Answer, *, only_local: bool = True) -> None:
        """Let ``answer`` answer.

        With ``only_local`` the ``Host`` of a request must be this machine's loopback: a page of somebody else's that
        resolves its own name to 127.0.0.1 would read ours otherwise (DNS rebinding).
        """
        self._answer = answer
        self._only_local = only_local
        self._open = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Answer one connection until either side ends it; never raises what the network or the client did."""
        if self._open >= MAX_CONNECTIONS:
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            await _Conversation(stream, self._answer_checked).run()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            pass  # the client went away, or never was one; from a stream's nursery that comes as a group
        except* Exception:  # noqa: BLE001 - who writes a long answer may fail after it has begun: as for a short one
            _log.exception("a connection ended in the middle of an answer", extra={"event": "admin.failed"})
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _answer_checked(self, request: HttpRequest) -> HttpResponse:
        host = request.headers.get("host", "").rpartition(":")
        name = host[0] if host[2].isdigit() else "".join(host)
        if self._only_local and name.lower() not in _LOOPBACK:
            return problem(421, "this port answers for localhost only")
        if request.method not in {"GET", "POST"}:
            return problem(405, "GET and POST are all there is")
        try:
            return await self._answer(request)
        except Exception:  # noqa: BLE001 - whatever fails in an answer must not end the port
            _log.exception("%s %r failed", request.method, request.path, extra={"event": "admin.failed"})
            return problem(500, "this failed here; the node's log says why")


class _Conversation:
    """The requests of one connection, one after the other."""

    def __init__(self, stream: trio.abc.Stream, answer: Answer) -> None:
        self._stream = stream
        self._answer = answer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._without_body = False
        self._gone = False

    async def run(self) -> None:
        while True:
            found: HttpRequest | HttpResponse | None = problem(408, "no request in time")
            with trio.move_on_after(REQUEST_WITHIN):
                found = await self._request()
            if found is None:
                return
            await self._respond(found if isinstance(found, HttpResponse) else await self._answer(found))
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    # -------------------------------------------------------------------------------------------------- reading

    async def _request(self) -> HttpRequest | HttpResponse | None:
        """The next request, or what to say instead of an answer; None if there is none."""
        try:
            head = await self._next()
            if not isinstance(head, h11.Request):
                return None
            body = bytearray()
            while isinstance(piece := await self._next(), h11.Data):
                body += piece.data
                if len(body) > MAX_BODY:
                    return problem(413, f"more than {MAX_BODY} bytes")
        except h11.RemoteProtocolError as error:
            return problem(error.error_status_hint, "this is not HTTP/1.1 as we understand it")
        if not isinstance(piece, h11.EndOfMessage):
            return None
        try:
            return self._read_head(head, bytes(body))
        except ValueError as error:
            return problem(400, f"this cannot be asked for: {error}")

    async def _next(self) -> object:
        while (found := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(bytes(await self._stream.receive_some(_READ)))
        return found

    def _read_head(self, head: h11.Request, body: bytes) -> HttpRequest:
        """The request.

        Raises:
            ValueError: its target is no address, or asks for more than 32 things.
        """
        method = head.method.decode("ascii")
        self._without_body = method == "HEAD"
        target = urlsplit(head.target.decode("ascii", "replace"))
        return HttpRequest(
            method="GET" if self._without_body else method,
            path=unquote(target.path),
            query=dict(parse_qsl(target.query, keep_blank_values=True, max_num_fields=32)),
            headers={name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
            body=body,
        )

    # -------------------------------------------------------------------------------------------------- writing

    async def _respond(self, response: HttpResponse) -> None:
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        headers = [("Content-Type", response.content_type), *_ALWAYS, *response.headers.items()]
        fixed = response.body if isinstance(response.body, bytes) else None
        if fixed is not None:
            headers.append(("Content-Length", str(len(fixed))))
        reason = HTTPStatus(response.status).phrase
        await self._send(h11.Response(status_code=response.status, headers=headers, reason=reason))
        if not self._without_body:
            if fixed:
                await self._send(h11.Data(data=fixed))
            elif fixed is None:
                await self._stream_body(response)
        await self._send(h11.EndOfMessage())

    async def _stream_body(self, response: HttpResponse) -> None:
        """Let somebody write for as long as the client is there."""
        assert not isinstance(response.body, bytes)

        async def send(data: bytes) -> None:
            await self._send(h11.Data(data=data))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait_gone, nursery.cancel_scope)
            await response.body(send)
            nursery.cancel_scope.cancel()
        if self._gone:
            raise trio.BrokenResourceError("the client is gone")

    async def _wait_gone(self, writing: trio.CancelScope) -> None:
        """Cancel ``writing`` when the client closes, or says something, which it has no reason to."""
        await self._stream.receive_some(_READ)
        self._gone = True
        writing.cancel()

    async def _send(self, happened: h11.Event) -> None:
        data = self._http.send(happened)
        if not data:
            return
        with trio.move_on_after(SENT_WITHIN) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
            raise trio.BrokenResourceError("the client is too slow")


@asynccontextmanager
async def open_http(host: str, port: int, answer: Answer, *, only_local: bool) -> AsyncIterator[int]:
    """Answer requests at ``host`` and ``port`` while the block runs; yields the port, which is chosen if it was 0.

    Leaving the block drops the connections.

    Raises:
        OSError: the address cannot be bound.
    """
    server = HttpServer(answer, only_local=only_local)
    listeners = await trio.open_tcp_listeners(port, host=host)
    with lone_error_raised_bare() as block:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, server.serve, listeners))
            with block.watched():
                yield int(listeners[0].socket.getsockname()[1])
            nursery.cancel_scope.cancel()
