"""A cluster as a client sees it: what a program asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from anyio.lowlevel import checkpoint

from swimring.errors import HandlerFailed
from swimring.service import UNDECLARED, raise_as_declared, read_call, read_open, returned, typed
from swimring.tracing import use_trace

from .message import read_message

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from swimring.identity import Key
    from swimring.ring import HashRing
    from swimring.service import ChannelCall, ItemsCall, Streaming, Talking, TypedCall, Unary
    from swimring.swim import Member
    from swimring.tracing import Trace

    from .directory import Directory
    from .links import Links
    from .message import Message
    from .routing import Routing

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Mesh:
    """A cluster, seen and used from outside. `connect` makes one; it works until its block is left.

    The deadline of a call is that of the surrounding anyio (on Trio: any) cancel scope.
    """

    def __init__(self, directory: Directory, links: Links, routing: Routing) -> None:
        """Made by `connect`."""
        self._directory = directory
        self._links = links
        self._routing = routing

    def __repr__(self) -> str:
        return f"<Mesh of {self.cluster}: {len(self._directory.active)} members, {len(self._links)} connections>"

    # -------------------------------------------------------------------------------------------- who is here

    @property
    def cluster(self) -> str:
        """The name of the cluster."""
        return self._directory.cluster

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody the followed node knows of, by name: also the dead and those that left."""
        return self._directory.members

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services that are offered, in order."""
        return self._directory.services

    def ring(self, service: str | None = None) -> HashRing:
        """The ring of ``service``: an immutable snapshot, empty if nobody offers it.

        Raises:
            ConfigError: no service is named, and it is not clear which one is meant.
        """
        return self._directory.ring(self._directory.service_meant(service))

    async def wait_ring(self, service: str, *, nodes: int) -> HashRing:
        """Wait until exactly ``nodes`` members take keys of ``service``, as far as is known here; return the ring."""
        await checkpoint()
        while len(self._directory.ring(service)) != nodes:
            await self._directory.changed.wait()
        return self._directory.ring(service)

    async def wait_gone(self, name: str) -> Member | None:
        """Wait until the member ``name`` takes no part, as far as is known here; its record, if there is one."""
        await checkpoint()
        while (member := self._directory.member(name)) is not None and member.status.active:
            await self._directory.changed.wait()
        return member

    def lookup(self, key: Key, service: str | None = None) -> Member:
        """The owner of ``key``, computed here: no network is involved. Without ``service`` of the only one there is.

        Raises:
            ConfigError: this cannot be a key, or it is not clear which service is meant.
            NoSuchHandler: nobody offers the service.
            Unreachable: it is offered, but only by members that take no keys.
        """
        return self._directory.lookup(key, service)

    def replicas(self, key: Key, n: int, service: str | None = None) -> tuple[Member, ...]:
        """The ``n`` members after the owner of ``key``, nearest first; fewer if there are not so many.

        Raises:
            ConfigError: this cannot be a key, ``n`` is negative, or it is not clear which service is meant.
        """
        return self._directory.replicas(key, n, service)

    # ------------------------------------------------------------------------------------------------- calling

    async def call(self, endpoint: Unary[_P, _R], key: Key | None = None, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run ``endpoint`` on the owner of ``key`` and return what it returns; without a key on any that offers it.

        Streams given by `Endpoint.with_streams` are sent along, again with every attempt.

        Raises:
            CallError: it did not return; the class says why, ``maybe_executed`` whether it may have run.
            Exception: the handler raised it, of a built-in or declared type; its ``__cause__`` is a `HandlerFailed`.
            NodeClosed: the block of this mesh was left.
        """
        target, message, streams = read_call(endpoint, key, args, kwargs)
        read = self._read(message, idempotent=target.idempotent, streams=streams)
        return await returned(target, self._routing.request(read))

    async def request(self, message: Mapping[str, Any], /, *, idempotent: bool = False) -> Any:
        """Have any message answered; the reply is made of plain wire values.

        Raises:
            CallError: as for `call`.
            NodeClosed: the block of this mesh was left.
        """
        try:
            return await self._routing.request(self._read(message, idempotent=idempotent))
        except HandlerFailed as failed:
            raise_as_declared(failed, UNDECLARED)

    async def cast(self, message: Mapping[str, Any], /) -> None:
        """Send a message nobody answers; returns when it may be sent, promises nothing about its arrival.

        Raises:
            CallError: it was not sent.
            NodeClosed: the block of this mesh was left.
        """
        await self._routing.cast(self._read(message))

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
            NodeClosed: the block of this mesh was left.
        """
        target, message, streams = read_open(endpoint, key, args, kwargs)
        read = self._read(message, idempotent=target.idempotent, streams=streams)
        return typed(target, self._routing.open(read))

    def trace(self) -> AbstractContextManager[Trace | None]:
        """Begin a trace: all calls made in the block, and all that their handlers make, belong to it.

        The W3C trace context travels with them. In a program that is traced already, use `swimring.tracing.use_trace`.
        """
        return use_trace(self._routing.begin_trace())

    def _read(
        self, message: Mapping[str, Any], *, idempotent: bool = False, streams: Mapping[str, object] | None = None
    ) -> Message:
        return read_message(message, idempotent=idempotent, streams=streams, traceparent=self._routing.traceparent())
