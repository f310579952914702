"""What an answer to an HTTP request is made from, and made of."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
EVENTS: Final = "text/event-stream"

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Sends a piece of a body that has no known length; waits while the client is slow, up to a bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request, whole.

    Attributes:
        method: GET or POST; a HEAD is a GET whose body is not sent.
        path: without the query, decoded.
        query: the last value of each name.
        headers: by their names in lower case.
        body: at most 64 KiB.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """One answer.

    Attributes:
        status: the status code.
        body: all of it; or who writes it, who is cancelled when the client goes away.
        content_type: its media type.
        headers: more of them.
    """

    status: int = 200
    body: bytes | Callable[[Send], Awaitable[None]] = b""
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


Answer: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]
"""Answers one request; a failure of it becomes a 500 that says nothing."""


def json_response(value: object, *, status: int = 200) -> HttpResponse:
    """``value`` as JSON; bytes in it as text, with what is no UTF-8 escaped."""
    text = json.dumps(value, default=_plain, separators=(",", ":"))
    return HttpResponse(status=status, body=text.encode(), content_type=JSON)


def problem(status: int, text: str) -> HttpResponse:
    """An error that says what is wrong and, if it is the client's, how to mend it."""
    return json_response({"error": text}, status=status)


def event(name: str, value: object) -> bytes:
    """One server-sent event (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    return f"event: {name}\ndata: {json.dumps(value, default=_plain, separators=(',', ':'))}\n\n".encode()


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(value)
