"""A cluster as a client sees it: what a program asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from swimring.errors import HandlerFailed
from swimring.service import UNDECLARED, raise_as_declared

from .message import read_message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.identity import Key
    from swimring.service import Endpoint
    from swimring.swim import Member

    from .directory import Directory
    from .links import Links
    from .routing import Routing

_P = ParamSpec("_P")
_R = TypeVar("_R")


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
        """Everybody the asked nodes know of, by name: also the dead and those that left. At most some seconds old."""
        return self._directory.members

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services that are offered, in order."""
        return self._directory.services

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

    async def call(self, endpoint: Endpoint[_P, _R], key: Key | None, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run ``endpoint`` on the owner of ``key`` and return what it returns; without a key on any that offers it.

        Raises:
            CallError: it did not return; the class says why, ``maybe_executed`` whether it may have run.
            Exception: the handler raised it, of a built-in or declared type; its ``__cause__`` is a `HandlerFailed`.
            NodeClosed: the block of this mesh was left.
        """
        message = endpoint.message(args, kwargs)
        if key is not None:
            message["key"] = key
        try:
            reply = await self._routing.request(read_message(message, idempotent=endpoint.idempotent))
        except HandlerFailed as failed:
            raise_as_declared(failed, endpoint.errors)
        return endpoint.load_result(reply)

    async def request(self, message: Mapping[str, Any], /, *, idempotent: bool = False) -> Any:
        """Have any message answered; the reply is made of plain wire values.

        Raises:
            CallError: as for `call`.
            NodeClosed: the block of this mesh was left.
        """
        try:
            return await self._routing.request(read_message(message, idempotent=idempotent))
        except HandlerFailed as failed:
            raise_as_declared(failed, UNDECLARED)

    async def cast(self, message: Mapping[str, Any], /) -> None:
        """Send a message nobody answers; returns when it may be sent, promises nothing about its arrival.

        Raises:
            CallError: it was not sent.
            NodeClosed: the block of this mesh was left.
        """
        await self._routing.cast(read_message(message))
