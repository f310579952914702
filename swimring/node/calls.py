"""Typed calls: from an endpoint and its arguments to a message, and from the answer to a typed result."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from swimring.errors import HandlerFailed
from swimring.rpc import Outgoing, outgoing
from swimring.service import UNDECLARED, Endpoint, WithStreams, raise_as_declared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key
    from swimring.rpc import Call, Routing
    from swimring.service import ByteStream

_P = ParamSpec("_P")
_R = TypeVar("_R")


class TypedCall(Generic[_R]):
    """A call that is under way, with its byte streams by name."""

    def __init__(self, endpoint: Endpoint[Any, _R], call: Call) -> None:
        """Made by `Node.open`."""
        self._endpoint = endpoint
        self._call = call
        self.streams: Mapping[str, ByteStream] = call.streams

    async def result(self) -> _R:
        """Wait for what the handler returns.

        Raises:
            CallError: it did not return.
            Exception: as `Node.call`.
        """
        return await returned(self._endpoint, self._call.result())


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
        endpoint: Endpoint[_P, _R] | WithStreams[_P, _R],
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

    def open(
        self,
        endpoint: Endpoint[_P, _R] | WithStreams[_P, _R],
        key: Key | None = None,
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> AbstractAsyncContextManager[TypedCall[_R]]:
        """As `Node.open`, on this member."""
        target, out = read_call(endpoint, key, args, kwargs)
        return typed(target, self._routes().open_at(self.name, out))


def read_call(
    endpoint: Endpoint[_P, _R] | WithStreams[_P, _R], key: Key | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Endpoint[_P, _R], Outgoing]:
    """The endpoint that is called, and the message that does it.

    Raises:
        InvalidRequest: the arguments do not fit the handler, or this cannot be a key.
    """
    plain, streams = (endpoint.endpoint, endpoint.streams) if isinstance(endpoint, WithStreams) else (endpoint, {})
    message = plain.message(args, kwargs)
    if key is not None:
        message["key"] = key
    return plain, outgoing(message, idempotent=plain.idempotent, streams=streams)


async def returned(endpoint: Endpoint[Any, _R], answer: Awaitable[Any]) -> _R:
    """What the handler returned, with the types of ``endpoint``; so are its errors."""
    try:
        value = await answer
    except HandlerFailed as failed:
        raise_as_declared(failed, endpoint.errors)
    return endpoint.load_result(value)


@asynccontextmanager
async def typed(endpoint: Endpoint[Any, _R], opened: AbstractAsyncContextManager[Call]) -> AsyncIterator[TypedCall[_R]]:
    """The call that ``opened`` opens, with the types of ``endpoint``."""
    async with opened as call:
        yield TypedCall(endpoint, call)
