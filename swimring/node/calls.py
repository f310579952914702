"""Typed calls: from an endpoint and its arguments to a message, and from the answer to a typed result."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, overload

from swimring.errors import HandlerFailed, InvalidRequest
from swimring.rpc import Outgoing, outgoing
from swimring.service import (
    UNDECLARED,
    ChannelEndpoint,
    Endpoint,
    Registered,
    StreamingEndpoint,
    WithStreams,
    opened,
    raise_as_declared,
    streams_of_call,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key
    from swimring.rpc import Call, Routing
    from swimring.service import ChannelCall, ItemsCall, TypedCall

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")
_In = TypeVar("_In")
_Out = TypeVar("_Out")

Unary: TypeAlias = Endpoint[_P, _R] | WithStreams[Endpoint[_P, _R]]
"""What is asked once and answers once, with or without streams."""
Streaming: TypeAlias = StreamingEndpoint[_P, _T] | WithStreams[StreamingEndpoint[_P, _T]]
"""What yields items."""
Talking: TypeAlias = ChannelEndpoint[_P, _In, _Out, _R] | WithStreams[ChannelEndpoint[_P, _In, _Out, _R]]
"""What has a channel."""


class NodePeer:
    """One certain member, asked directly: the ring is not consulted, and no other node is tried."""

    def __init__(self, routes: Callable[[], Routing], name: str) -> None:
        """Made by `Node.peer`; ``routes`` raises `NodeClosed` once the node has left."""
        self._routes = routes
        self.name = name

    def __repr__(self) -> str:
        return f"<NodePeer {self.name}>"

    async def call(
        self,
        endpoint: Unary[_P, _R],
        key: Key | None = None,
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _R:
        """As `Node.call`, on this member."""
        target, out = read_call(endpoint, key, args, kwargs)
        return await returned(target, self._routes().request_at(self.name, out))

    async def request(self, message: Mapping[str, Any], /, *, idempotent: bool = False) -> Any:
        """As `Node.request`, on this member."""
        try:
            return await self._routes().request_at(self.name, outgoing(message, idempotent=idempotent))
        except HandlerFailed as failed:
            raise_as_declared(failed, UNDECLARED)

    async def cast(self, message: Mapping[str, Any], /) -> None:
        """As `Node.cast`, to this member."""
        await self._routes().cast_at(self.name, outgoing(message))

    @overload
    def open(
        self, endpoint: Streaming[_P, _T], key: Key | None = None, /, *args: _P.args, **kwargs: _P.kwargs
    ) -> AbstractAsyncContextManager[ItemsCall[_T]]: ...

    @overload
    def open(
        self, endpoint: Talking[_P, _In, _Out, _R], key: Key | None = None, /, *args: _P.args, **kwargs: _P.kwargs
    ) -> AbstractAsyncContextManager[ChannelCall[_In, _Out, _R]]: ...

    @overload
    def open(
        self, endpoint: Unary[_P, _R], key: Key | None = None, /, *args: _P.args, **kwargs: _P.kwargs
    ) -> AbstractAsyncContextManager[TypedCall[_R]]: ...

    def open(self, endpoint: Any, key: Key | None = None, /, *args: Any, **kwargs: Any) -> Any:
        """As `Node.open`, on this member."""
        target, out = read_open(endpoint, key, args, kwargs)
        return typed(target, self._routes().open_at(self.name, out))


def read_call(
    endpoint: Unary[_P, _R], key: Key | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Endpoint[_P, _R], Outgoing]:
    """The endpoint that is called, and the message that does it.

    Raises:
        InvalidRequest: the arguments do not fit the handler, this cannot be a key, or it is no endpoint to call.
    """
    plain = endpoint.endpoint if isinstance(endpoint, WithStreams) else endpoint
    if not isinstance(plain, Endpoint):
        raise InvalidRequest(f"{plain}: {plain.way_to_call}")
    return plain, read_open(endpoint, key, args, kwargs)[1]


def read_open(
    endpoint: Registered[...] | WithStreams[Registered[...]],
    key: Key | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> tuple[Registered[...], Outgoing]:
    """The endpoint that is opened, of any kind, and the message that does it.

    Raises:
        InvalidRequest: the arguments do not fit the handler, or this cannot be a key.
    """
    plain, sources = (endpoint.endpoint, endpoint.streams) if isinstance(endpoint, WithStreams) else (endpoint, {})
    message = plain.message(args, kwargs)
    if key is not None:
        message["key"] = key
    streams = streams_of_call(plain, sources)
    return plain, outgoing(message, idempotent=plain.idempotent, streams=streams)


async def returned(endpoint: Endpoint[Any, _R], answer: Awaitable[Any]) -> _R:
    """What the handler returned, with the types of ``endpoint``; so are its errors."""
    try:
        value = await answer
    except HandlerFailed as failed:
        raise_as_declared(failed, endpoint.errors)
    return endpoint.load_result(value)


@asynccontextmanager
async def typed(endpoint: Registered[...], opening: AbstractAsyncContextManager[Call]) -> AsyncIterator[Any]:
    """The call that ``opening`` opens, with the types of ``endpoint``."""
    async with opening as call:
        yield opened(endpoint, call)
