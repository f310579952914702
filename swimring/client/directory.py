"""Who is here and who owns what, as the nodes told us: the client's copy of what a node learns by gossip."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import anyio

from swimring.errors import ConfigError, NoSuchHandler, Unreachable
from swimring.ring import HashRing, ring_seed
from swimring.swim import Member

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swimring.identity import Key

    from .news import ClusterState

_MAX_LISTED: Final = 16


class Directory:
    """The members of one cluster and the ring of each service. A record only gives way to a later one of its name."""

    def __init__(self, state: ClusterState) -> None:
        """Start with what one node knows."""
        self.cluster: Final = state.cluster
        self.changed = anyio.Event()
        """Set when anything changed; a new one is in its place then."""
        self._empty = HashRing.build({}, seed=ring_seed(state.cluster), points=state.points)
        self._members: dict[str, Member] = {}
        self._rings: dict[str, HashRing] = {}
        self._offering: dict[str, tuple[Member, ...]] = {}
        self.take_in(state)

    # ------------------------------------------------------------------------------------------------- learning

    def take_in(self, state: ClusterState) -> None:
        """Learn all that a node knows; who is gone and it does not speak of any more is forgotten."""
        told = {member.name for member in state.members}
        kept = {name: member for name, member in self._members.items() if name in told or member.status.active}
        self._merge(kept, state.members)

    def learn(self, members: Iterable[Member], *, gone: Iterable[str] = ()) -> None:
        """Learn what has changed; of those ``gone`` nobody speaks any more, and who takes no part is forgotten."""
        forgotten = {name for name in gone if name in self._members and not self._members[name].status.active}
        kept = {name: member for name, member in self._members.items() if name not in forgotten}
        self._merge(kept, members)

    def apply(self, records: Iterable[object]) -> None:
        """Learn from records in their wire form, such as a ``moved`` answer carries.

        Raises:
            RemoteProtocolError: one of them is no record; none was taken in.
        """
        self._merge(dict(self._members), [Member.from_wire(record) for record in records])

    def _merge(self, merged: dict[str, Member], records: Iterable[Member]) -> None:
        for record in records:
            known = merged.get(record.name)
            if known is None or record.supersedes(known):
                merged[record.name] = record
        if merged == self._members:
            return
        self._members = dict(sorted(merged.items()))
        self._follow()
        self.changed.set()
        self.changed = anyio.Event()

    def _follow(self) -> None:
        weights: dict[str, dict[str, float]] = {}
        for member in self.active:
            for service in member.metadata.services:
                weights.setdefault(service, {})[member.name] = member.metadata.ring_weight
        self._rings = {name: self.ring(name).with_nodes(weights[name]) for name in sorted(weights)}
        self._offering = {name: self._willing(weights[name]) for name in self._rings}

    def _willing(self, weights: dict[str, float]) -> tuple[Member, ...]:
        names = [name for name, weight in weights.items() if weight > 0] or list(weights)
        return tuple(self._members[name] for name in names)

    # -------------------------------------------------------------------------------------------------- reading

    @property
    def members(self) -> tuple[Member, ...]:
        """All records by name; the dead and those that left are among them."""
        return tuple(self._members.values())

    def member(self, name: str) -> Member | None:
        """The record of the member ``name``."""
        return self._members.get(name)

    @property
    def active(self) -> tuple[Member, ...]:
        """The members that take part: alive or suspect."""
        return tuple(member for member in self._members.values() if member.status.active)

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services that are offered, in order."""
        return tuple(self._rings)

    def ring(self, service: str) -> HashRing:
        """The ring of ``service``, an empty one if nobody offers it."""
        return self._rings.get(service, self._empty)

    def offering(self, service: str) -> tuple[Member, ...]:
        """The members that offer ``service``; those of weight 0 only if there are no others."""
        return self._offering.get(service, ())

    def owner(self, service: str, key: Key) -> Member | None:
        """The owner of ``key`` among the members that offer ``service``; None if its ring is empty.

        Raises:
            ConfigError: this cannot be a key.
        """
        name = self.ring(service).lookup(key)
        return None if name is None else self._members[name]

    def lookup(self, key: Key, service: str | None) -> Member:
        """The owner of ``key`` of ``service``; without ``service`` of the only one there is.

        Raises:
            ConfigError: this cannot be a key, or it is not clear which service is meant.
            NoSuchHandler: nobody offers the service.
            Unreachable: it is offered, but only by members that take no keys.
        """
        name = self.service_meant(service)
        owner = self.owner(name, key)
        if owner is not None:
            return owner
        if not self.offering(name):
            raise NoSuchHandler(self.nobody(name), key=key)
        raise Unreachable(f"no member takes keys of service {name!r}", key=key)

    def replicas(self, key: Key, n: int, service: str | None) -> tuple[Member, ...]:
        """The ``n`` members after the owner of ``key``, nearest first; fewer if there are not so many.

        Raises:
            ConfigError: this cannot be a key, ``n`` is negative, or it is not clear which service is meant.
        """
        return tuple(self._members[name] for name in self.ring(self.service_meant(service)).replicas(key, n))

    def service_meant(self, service: str | None) -> str:
        """``service``, or the only one there is.

        Raises:
            ConfigError: none is named, and there is none or more than one.
        """
        if service is not None:
            return service
        if len(self._rings) != 1:
            raise ConfigError("service", None, f"name one of: {self._listed()}")
        return next(iter(self._rings))

    def nobody(self, service: str) -> str:
        """The text of a `NoSuchHandler` for a service that nobody offers."""
        if not service:
            return "the message names no service (ns)"
        return f"no member offers service {service!r}; offered: {self._listed()}"

    def _listed(self) -> str:
        return ", ".join(itertools.islice(self._rings, _MAX_LISTED)) or "none"
