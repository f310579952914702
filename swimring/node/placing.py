"""The part of a node that says who owns a key, and what happens to the keys that this one owns."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import trio

from swimring.errors import ConfigError, NodeClosed, NoSuchHandler, NotOwner, Unreachable
from swimring.ownership import RangesGained, RangesLost, Tracking, moved_here
from swimring.service import Service
from swimring.swim import MemberEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from swimring.gossip import Gossiper, Subscription
    from swimring.identity import Key
    from swimring.ownership import Rebalancer, RingSnapshot, Tracker
    from swimring.ring import HashRing
    from swimring.swim import Member, Standing

    from .settings import Settings

NodeEvent: TypeAlias = MemberEvent | RangesLost | RangesGained
"""What `Node.events` tells."""


class Placing:
    """What a `Node` knows of the rings."""

    def __init__(self, *, settings: Settings, gossiper: Gossiper, rebalancer: Rebalancer) -> None:
        """Made by `Node`."""
        self._settings = settings
        self._gossiper = gossiper
        self._rebalancer = rebalancer
        self._tracking = Tracking(rebalancer, me=lambda: self.me.name)

    @property
    def me(self) -> Member:
        """This node's own record."""
        return self._gossiper.me

    @asynccontextmanager
    async def events(self) -> AsyncIterator[Subscription[NodeEvent]]:
        """Listen to the cluster: ``async with node.events() as events: async for event in events``.

        Changes of the membership come as they are learnt, and when the rings have followed them, for each service, the
        ranges of keys that this node has lost or gained. A listener that lets 256 events wait gets a `Resynced` with
        everybody instead of them.
        """
        async with self._gossiper.events() as heard:
            events = cast("Subscription[NodeEvent]", heard)  # it does not look at what it queues

            def tell(old: RingSnapshot, new: RingSnapshot) -> None:
                for event in moved_here(old, new, self.me.name):
                    events.put(event)

            with self._rebalancer.telling(tell):
                yield events

    def ring(self, service: Service | str | None = None) -> HashRing:
        """The ring of ``service``: an immutable snapshot, empty if nobody offers it.

        Raises:
            ConfigError: no service is named, and it is not clear which one is meant.
        """
        return self._rebalancer.ring(self._service(service))

    def lookup(self, key: Key, /, *, service: Service | str | None = None) -> Member:
        """The owner of ``key`` as far as this node knows; no network is involved.

        Raises:
            ConfigError: this cannot be a key, or it is not clear which service is meant.
            NoSuchHandler: nobody offers the service.
            Unreachable: it is offered, but only by members that take no keys (weight 0).
        """
        name = self._service(service)
        owner = self._rebalancer.owner(name, key)
        if owner is not None:
            return owner
        if not self._rebalancer.offering(name):
            raise NoSuchHandler(f"no member offers service {name!r}", key=key)
        raise Unreachable(f"no member takes keys of service {name!r}", key=key)

    def replicas(self, key: Key, n: int, /, *, service: Service | str | None = None) -> tuple[Member, ...]:
        """The ``n`` members that follow the owner of ``key`` on the ring; fewer if there are not as many."""
        return self._rebalancer.owners(self._service(service), key, n + 1)[1:]

    def owns(self, key: Key, /, *, service: Service | str | None = None) -> bool:
        """Whether ``key`` lives on this node now, as far as this node knows."""
        owner = self._rebalancer.owner(self._service(service), key)
        return owner is not None and owner.id == self.me.id

    async def wait_ring(self, service: Service | str | None = None, *, nodes: int) -> HashRing:
        """Wait until exactly ``nodes`` members take keys of ``service``; return the ring."""
        name = self._service(service)
        await trio.lowlevel.checkpoint()
        while len(self._rebalancer.ring(name)) != nodes:
            await self._rebalancer.wait_changed(self._rebalancer.sequence)
        return self._rebalancer.ring(name)

    async def wait_owned(self, key: Key, /, *, service: Service | str | None = None) -> None:
        """Wait until ``key`` lives on this node; return at once if it does.

        Raises:
            ConfigError: this cannot be a key, or it is not clear which service is meant.
            NodeClosed: this node has left before.
        """
        name = self._service(service)
        async with self._rebalancer.follow() as snapshots:
            async for _snapshot in snapshots:
                if self.owns(key, service=name):
                    return
                if not self.me.status.active:
                    break
        raise NodeClosed(f"{self.me.name} has left before it owned {key!r}")

    @asynccontextmanager
    async def track(
        self, key: Key, /, *, replicas: int = 0, service: Service | str | None = None
    ) -> AsyncIterator[Tracker]:
        """Watch a key that lives here: ``async with node.track(key, replicas=1) as moves: async for move in moves``.

        First come the nearest ``replicas`` members that follow on the ring, each as a `ReplicaChanged`, then whatever
        changes about them, and last, once, a `Moved`: to the next owner, or to nobody when this node has left.
        Changes that nobody took are merged to the newest state: nothing piles up, and the last one is never lost.

        Raises:
            ConfigError: this cannot be a key, ``replicas`` is negative, or it is not clear which service is meant.
            NotOwner: the key lives on another node.
            NoSuchHandler: nobody offers the service.
            Unreachable: it is offered, but only by members that take no keys.
        """
        await trio.lowlevel.checkpoint()
        name = self._service(service)
        owner = self.lookup(key, service=name)
        if owner.id != self.me.id:
            raise NotOwner(f"{self.me.name} can only track what it owns", key=key, owner=owner.name)
        with self._tracking.open(name, key, replicas=replicas) as tracker:
            yield tracker

    # -------------------------------------------------------------------------------------------------- inside

    @property
    def standing(self) -> Standing:
        """What this node tells the others about the keys it takes."""
        return self.me.metadata.standing

    async def _tell_standing(self, **changes: Any) -> None:
        """Change what this node tells about the keys it takes; the rest of it stays, whoever changes that meanwhile."""
        if replace(self.standing, **changes) == self.standing:
            await trio.lowlevel.checkpoint()
            return
        await self._gossiper.update_metadata(
            lambda metadata: metadata.with_standing(replace(metadata.standing, **changes))
        )

    @contextmanager
    def following(self) -> Iterator[None]:
        """Show each change of the rings to the trackers while the block runs; `open_node` does."""
        try:
            with self._rebalancer.telling(self._tracking.follow):
                yield
        finally:
            self._tracking.close()

    def _service(self, service: Service | str | None) -> str:
        if isinstance(service, Service):
            return service.name
        if service is not None:
            return service
        own = self._settings.services
        offered = [own[0].name] if len(own) == 1 else sorted(self._rebalancer.snapshot.rings)
        if len(offered) != 1:
            raise ConfigError("service", None, f"say which service is meant; offered: {', '.join(offered) or 'none'}")
        return offered[0]
