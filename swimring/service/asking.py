"""Typed calls, seen from the caller: from an endpoint and its arguments to a message, from the answer to a result."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from swimring.errors import HandlerFailed, InvalidRequest

from .endpoint import Endpoint, Registered, WithStreams, streams_of_call
from .opened import opened
from .raising import raise_as_declared
from .streaming import ChannelEndpoint, StreamingEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key

    from .opened import OpenedCall
    from .request import StreamSource

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")
_In = TypeVar("_In")
_Out = TypeVar("_Out")
_E = TypeVar("_E")

Unary: TypeAlias = Endpoint[_P, _R] | WithStreams[Endpoint[_P, _R]]
"""What is asked once and answers once, with or without streams."""
Streaming: TypeAlias = StreamingEndpoint[_P, _T] | WithStreams[StreamingEndpoint[_P, _T]]
"""What yields items."""
Talking: TypeAlias = ChannelEndpoint[_P, _In, _Out, _R] | WithStreams[ChannelEndpoint[_P, _In, _Out, _R]]
"""What has a channel."""


Asked: TypeAlias = "tuple[_E, dict[str, Any], dict[str, StreamSource]]"
"""One typed call, complete but for its destination: the endpoint, the message, what feeds the streams."""


def read_call(
    endpoint: Unary[_P, _R], key: Key | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Asked[Endpoint[_P, _R]]:
    """A call that waits for its result.

    Raises:
        InvalidRequest: the arguments do not fit the handler, or it is no endpoint to call.
    """
    plain = endpoint.endpoint if isinstance(endpoint, WithStreams) else endpoint
    if not isinstance(plain, Endpoint):
        raise InvalidRequest(f"{plain}: {plain.way_to_call}")
    _, message, streams = read_open(endpoint, key, args, kwargs)
    return plain, message, streams


def read_open(
    endpoint: Registered[...] | WithStreams[Registered[...]],
    key: Key | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Asked[Registered[...]]:
    """A call that is held open, of an endpoint of any kind.

    Raises:
        InvalidRequest: the arguments do not fit the handler.
    """
    plain, sources = (endpoint.endpoint, endpoint.streams) if isinstance(endpoint, WithStreams) else (endpoint, {})
    message = plain.message(args, kwargs)
    if key is not None:
        message["key"] = key
    return plain, message, streams_of_call(plain, sources)


async def returned(endpoint: Endpoint[Any, _R], answer: Awaitable[Any]) -> _R:
    """What the handler returned, with the types of ``endpoint``; so are its errors."""
    try:
        value = await answer
    except HandlerFailed as failed:
        raise_as_declared(failed, endpoint.errors)
    return endpoint.load_result(value)


@asynccontextmanager
async def typed(endpoint: Registered[...], opening: AbstractAsyncContextManager[OpenedCall]) -> AsyncIterator[Any]:
    """The call that ``opening`` opens, with the types of ``endpoint``."""
    async with opening as call:
        yield opened(endpoint, call)
