"""Typed calls, seen from the caller: from an endpoint and its arguments to a message, from the answer to a result."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeAlias, TypeVar, overload

from swimring.errors import HandlerFailed, InvalidRequest

from .endpoint import Endpoint, Registered, WithStreams, streams_of_call
from .opened import opened
from .raising import UNDECLARED, raise_as_declared
from .streaming import ChannelEndpoint, StreamingEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key

    from .opened import ChannelCall, ItemsCall, OpenedCall, TypedCall
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


Streams: TypeAlias = "Mapping[str, StreamSource]"
"""By name, what feeds each stream of a call."""
NO_STREAMS: Final[Streams] = MappingProxyType({})

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


class Asker:
    """Whoever makes calls with types: a node, one member as a node sees it, a client.

    What they say is the same; where it goes is what each of them knows (`_ask`, `_tell`, `_hold`). The surrounding
    cancel scope is the deadline, and travels.
    """

    async def call(self, endpoint: Unary[_P, _R], key: Key | None = None, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run ``endpoint`` where ``key`` lives and return what it returns; without a key on any node that offers it.

        Streams given by `Endpoint.with_streams` are sent along, again with every attempt.

        Raises:
            CallError: it did not return; the class says why, ``maybe_executed`` whether it may have run.
            Exception: the handler raised it, of a built-in or declared type; its ``__cause__`` is a `HandlerFailed`.
            NodeClosed: the node has left, or the block of the client was.
        """
        target, message, streams = read_call(endpoint, key, args, kwargs)
        return await returned(target, self._ask(message, idempotent=target.idempotent, streams=streams))

    async def request(self, message: Mapping[str, Any], /, *, idempotent: bool = False) -> Any:
        """Have any message answered where its ``key`` lives, without one by any node that offers its service.

        The answer is made of plain wire values.

        Raises:
            InvalidRequest: this is no message; nothing was sent.
            CallError: as for `call`.
            NodeClosed: as for `call`.
        """
        try:
            return await self._ask(message, idempotent=idempotent)
        except HandlerFailed as failed:
            raise_as_declared(failed, UNDECLARED)

    async def cast(self, message: Mapping[str, Any], /) -> None:
        """Send ``message`` to where its ``key`` lives; nobody answers, and nothing is promised about its arrival.

        Raises:
            InvalidRequest: this is no message; nothing was sent.
            CallError: it could not be sent.
            NodeClosed: as for `call`.
        """
        await self._tell(message)

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
        """Make a call and hold it open, with its items and streams; leaving the block before its end cancels it.

        What the block gets depends on the handler: the items of one that yields, both ends of one with a channel, the
        streams of any.

        Raises:
            CallError: as for `call`, from the block or from the call's ``result``.
            NodeClosed: as for `call`.
        """
        target, message, streams = read_open(endpoint, key, args, kwargs)
        return typed(target, self._hold(message, idempotent=target.idempotent, streams=streams))

    def _ask(self, message: Mapping[str, Any], *, idempotent: bool, streams: Streams = NO_STREAMS) -> Awaitable[Any]:
        """Send ``message`` and wait for the wire value of the answer."""
        raise NotImplementedError

    def _tell(self, message: Mapping[str, Any]) -> Awaitable[None]:
        """Send ``message``, which nobody answers."""
        raise NotImplementedError

    def _hold(
        self, message: Mapping[str, Any], *, idempotent: bool, streams: Streams
    ) -> AbstractAsyncContextManager[OpenedCall]:
        """Send ``message`` and hold the call open."""
        raise NotImplementedError
