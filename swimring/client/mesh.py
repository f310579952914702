"""A cluster as a client sees it: what a program asks of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio.lowlevel import checkpoint

from swimring.service import NO_STREAMS, Asker
from swimring.tracing import use_trace

from .message import read_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from swimring.identity import Key
    from swimring.ring import HashRing
    from swimring.service import OpenedCall, Streams
    from swimring.swim import Member
    from swimring.tracing import Trace

    from .directory import Directory
    from .links import Links
    from .message import Message
    from .routing import Routing


class Mesh(Asker):
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

    async def wait_changed(self, seen: tuple[Member, ...]) -> tuple[Member, ...]:
        """Wait until the members are others than ``seen``, which `members` was; return what it is then."""
        await checkpoint()
        while self.members == seen:
            await self._directory.changed.wait()
        return self.members

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

    def trace(self) -> AbstractContextManager[Trace | None]:
        """Begin a trace: all calls made in the block, and all that their handlers make, belong to it.

        The W3C trace context travels with them. In a program that is traced already, use `swimring.tracing.use_trace`.
        """
        return use_trace(self._routing.begin_trace())

    def counters(self) -> dict[str, int]:
        """What was counted since this client connected: calls made, and attempts beyond the first of each."""
        return {"calls": self._routing.calls, "retries": self._routing.retries}

    # -------------------------------------------------------------------------------------------------- inside

    def _ask(self, message: Mapping[str, Any], *, idempotent: bool, streams: Streams = NO_STREAMS) -> Awaitable[Any]:
        return self._routing.request(self._read(message, idempotent=idempotent, streams=streams))

    def _tell(self, message: Mapping[str, Any]) -> Awaitable[None]:
        return self._routing.cast(self._read(message))

    def _hold(
        self, message: Mapping[str, Any], *, idempotent: bool, streams: Streams
    ) -> AbstractAsyncContextManager[OpenedCall]:
        return self._routing.open(self._read(message, idempotent=idempotent, streams=streams))

    def _read(self, message: Mapping[str, Any], *, idempotent: bool = False, streams: Streams = NO_STREAMS) -> Message:
        return read_message(message, idempotent=idempotent, streams=streams, traceparent=self._routing.traceparent())
