"""One certain member, as somebody to talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from swimring.errors import HandlerFailed
from swimring.rpc import outgoing
from swimring.service import UNDECLARED, raise_as_declared, read_call, read_open, returned, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key
    from swimring.rpc import Routing
    from swimring.service import ChannelCall, ItemsCall, Streaming, Talking, TypedCall, Unary

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")
_In = TypeVar("_In")
_Out = TypeVar("_Out")


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
        target, message, streams = read_call(endpoint, key, args, kwargs)
        out = outgoing(message, idempotent=target.idempotent, streams=streams)
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
        target, message, streams = read_open(endpoint, key, args, kwargs)
        out = outgoing(message, idempotent=target.idempotent, streams=streams)
        return typed(target, self._routes().open_at(self.name, out))
