"""Follows the membership and publishes the rings: one for each service, over the members that offer it.

What is published is an immutable snapshot, so that whoever reads it decides everything about one call on one state
of the cluster. Changes of the membership come in bursts (a restart of ten nodes, the end of a partition); a cut filter
waits for a pause before it publishes, so that keys move once and not ten times.
"""

from __future__ import annotations

import hashlib
import logging
import math
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
import trio_util

from swimring.instrument import Instrument, Instruments
from swimring.ring import DEFAULT_POINTS, HashRing, moved_ranges, reassigned_ranges, ring_seed
from swimring.swim import Member

from .following import Follower
from .places import Places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from swimring.identity import Key
    from swimring.ring import Move, Reassignment

_log = logging.getLogger("swimring.ownership")

QUIET: Final = 0.1
"""Seconds without a change after which the changes so far are published."""
LIMIT: Final = 0.5
"""Seconds after the first change at which they are published in any case."""

_MOST_PLACES: Final = 4096
"""Keys whose owner is remembered."""


class MembershipView(Protocol):
    """What the rebalancer needs of gossip."""

    @property
    def members(self) -> tuple[Member, ...]:
        """All records, this node's own included."""

    def learn(self, members: Iterable[Member]) -> None:
        """Take in records that somebody showed us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingSnapshot:
    """Who offers what and who owns which key, at one moment, as this node sees it."""

    sequence: int
    """Counts the snapshots of this node."""
    version: str
    """16 hexadecimal digits, equal on nodes that agree about every key of every service."""
    members: Mapping[str, Member]
    """The members that take part (alive or suspect), by name, in the order of the names."""
    offering: Mapping[str, tuple[Member, ...]]
    """For each service, the members that offer it; those of weight 0 only if there are no others."""
    rings: Mapping[str, HashRing]
    """For each service, its ring; members of weight 0 are not in it, so that it may be empty."""
    kept: frozenset[str] = frozenset()
    """Names of those that are gone and will be back: their copies need not be made anew until then."""

    def moved_since(self, older: RingSnapshot, service: str) -> tuple[Move, ...]:
        """The ranges of keys of ``service`` that have another owner than in ``older``, merged.

        Where nobody offered the service before they come from None, where nobody does any more they go to None.
        """
        rings = self._rings_of(older, service)
        return () if rings is None else moved_ranges(*rings)

    def reassigned_since(self, older: RingSnapshot, service: str, *, copies: int) -> tuple[Reassignment, ...]:
        """The ranges of ``service`` whose owner or nearest ``copies`` replicas are others than in ``older``."""
        rings = self._rings_of(older, service)
        return () if rings is None else reassigned_ranges(*rings, copies=copies)

    def owners(self, service: str, key: Key, n: int) -> tuple[Member, ...]:
        """The owner of ``key`` and the members that follow it, ``n`` in all, fewer if there are.

        Raises:
            ConfigError: this cannot be a key, or ``n`` is negative.
        """
        ring = self.rings.get(service)
        return () if ring is None else tuple(self.members[name] for name in ring.owners(key, n))

    def _rings_of(self, older: RingSnapshot, service: str) -> tuple[HashRing, HashRing] | None:
        before, now = older.rings.get(service), self.rings.get(service)
        if before is None:
            return None if now is None else (now.with_nodes({}), now)
        return None if now is before else (before, before.with_nodes({}) if now is None else now)


class CutFilter:
    """When to publish a burst of changes: after `QUIET` seconds of quiet, or `LIMIT` seconds after the first one."""

    def __init__(self, *, quiet: float = QUIET, limit: float = LIMIT) -> None:
        """Start with nothing to publish; ``quiet`` and ``limit`` in seconds."""
        self._quiet = quiet
        self._limit = limit
        self._first: float | None = None
        self._last = -math.inf

    @property
    def due(self) -> float:
        """When to publish: an absolute time, ``-math.inf`` while there is nothing to wait for."""
        if self._first is None:
            return -math.inf
        return min(self._last + self._quiet, self._first + self._limit)

    def changed(self, *, now: float) -> None:
        """Something changed."""
        if self._first is None:
            self._first = now
        self._last = now

    def published(self) -> None:
        """All changes so far are published."""
        self._first = None


class Rebalancer:
    """Holds the current `RingSnapshot` and replaces it when the membership has changed.

    It is the `swimring.rpc.RingView` of the node. `update` takes the members in; `run` publishes them when the cut
    filter says so and has to run for that; `flush` publishes at once. Who wants every change without a task of its own
    is called back (`telling`), who has a task iterates (`follow`).
    """

    def __init__(
        self,
        view: MembershipView,
        *,
        cluster: str,
        points: int = DEFAULT_POINTS,
        instruments: Instruments | None = None,
    ) -> None:
        """Publish the members that ``view`` has now.

        Raises:
            ConfigError: ``points`` is not positive.
        """
        self._view = view
        self._instruments = instruments or Instruments()
        self._empty = HashRing.build({}, seed=ring_seed(cluster), points=points)
        self._cut = CutFilter()
        self._stirred = trio.Event()
        self._pause: trio.CancelScope | None = None
        self._members = _active(view.members)
        self._away = Places()
        nobody = RingSnapshot(sequence=0, version=_version({}), members={}, offering={}, rings={})
        self._snapshot = nobody
        # Of keys that were asked for since then; forgotten all at once when there are too many.
        self._places: dict[tuple[str, Key], tuple[Member | None, str]] = {}
        self._current: Any = trio_util.AsyncValue(nobody)  # the same, for who waits
        self._listeners: list[Callable[[RingSnapshot, RingSnapshot], None]] = []
        self._followers: set[Follower] = set()
        self._closed = False
        self.flush()

    # ------------------------------------------------------------------------------------------------ following

    def update(self, members: Iterable[Member]) -> None:
        """Take in the members as they are now; what matters to a ring is published by `run`, after a pause.

        Dead members and those that left do not matter, nor does the difference between alive and suspect.
        """
        records = {member.name: member for member in members}
        active = _active(records.values())
        self._away.follow(self._members, records, now=trio.current_time())
        if _matter(active) == _matter(self._members) and self._away.absent(active) == self._snapshot.kept:
            return
        self._members = active
        self._cut.changed(now=trio.current_time())
        self._stirred.set()
        if self._pause is not None:
            self._pause.deadline = self._cut.due

    def apply(self, records: Sequence[object]) -> None:
        """Take in member records in their wire form, from a node that refused a call, and publish them at once.

        Raises:
            RemoteProtocolError: one of them is no record; none was taken in.
        """
        self._view.learn([Member.from_wire(record) for record in records])
        self.update(self._view.members)
        self.flush()

    def flush(self) -> None:
        """Publish what `update` took in, without waiting for quiet."""
        self._cut.published()
        if self._stirred.is_set():  # one that is not set has to stay: `run` waits for it
            self._stirred = trio.Event()
        if self._pause is not None:
            self._pause.deadline = self._cut.due
        old = self.snapshot
        if _matter(old.members) != _matter(self._members) or old.kept != self._away.absent(self._members):
            self._publish(old)

    async def run(self) -> None:
        """Publish each burst of changes when it has settled; runs until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._away.next_end):
                await self._stirred.wait()
            if self._away.forget(now=trio.current_time()) and not self._stirred.is_set():
                self.flush()
                continue
            with trio.CancelScope(deadline=self._cut.due) as self._pause:  # `update` moves the deadline
                await trio.sleep_forever()
            self._pause = None
            self.flush()

    def _publish(self, old: RingSnapshot) -> None:
        weights: dict[str, dict[str, float]] = {}
        for member in self._members.values():
            for service in member.metadata.services:
                weights.setdefault(service, {})[member.name] = member.metadata.ring_weight
        rings = {name: old.rings.get(name, self._empty).with_nodes(weights[name]) for name in sorted(weights)}
        self._places.clear()
        self._snapshot = self._current.value = RingSnapshot(
            sequence=old.sequence + 1,
            version=_version(rings),
            members=MappingProxyType(self._members),
            offering=MappingProxyType({name: self._offering(weights[name]) for name in rings}),
            rings=MappingProxyType(rings),
            kept=self._away.absent(self._members),
        )
        self._tell(old, self._snapshot)

    def _tell(self, old: RingSnapshot, new: RingSnapshot) -> None:
        for listener in tuple(self._listeners):
            listener(old, new)
        for follower in self._followers:
            follower.put(new)
        for name in sorted(new.rings.keys() | old.rings.keys()):
            ring = new.rings.get(name, self._empty)
            if ring is not old.rings.get(name):
                self._instruments.tell(Instrument.ring_changed, name, ring.version, len(ring))
                facts = {"event": "ring.changed", "ring": ring.version}
                _log.info("the ring of %s has %d nodes", name, len(ring), extra=facts)

    def _offering(self, weights: Mapping[str, float]) -> tuple[Member, ...]:
        willing = [name for name, weight in weights.items() if weight > 0] or list(weights)
        return tuple(self._members[name] for name in willing)

    # ------------------------------------------------------------------------------------------------- watching

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[Follower]:
        """Iterate the snapshots: the current one first, then each newer one.

        Who takes none for a while misses those in between and never the latest. The iteration ends, after the latest,
        when the node has left.
        """
        await trio.lowlevel.checkpoint()
        follower = Follower(self._snapshot)
        if self._closed:
            follower.close()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    @contextmanager
    def telling(self, listener: Callable[[RingSnapshot, RingSnapshot], None]) -> Iterator[None]:
        """Call ``listener`` with the snapshot before and the new one at every change while the block runs.

        It is called where the change is made known: it must not wait, and must not change what it is told about.
        """
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def close(self) -> None:
        """There will be no further snapshot: the node has left. Ends the iterations of those who follow."""
        self._closed = True
        for follower in self._followers:
            follower.close()

    # -------------------------------------------------------------------------------------------------- reading

    @property
    def snapshot(self) -> RingSnapshot:
        """The current snapshot."""
        return self._snapshot

    @property
    def sequence(self) -> int:
        """The number of the current snapshot, for `wait_changed`."""
        return self.snapshot.sequence

    async def wait_changed(self, sequence: int) -> RingSnapshot:
        """Wait until there is a snapshot later than number ``sequence``; return the current one."""
        await self._current.wait_value(lambda snapshot: snapshot.sequence > sequence)
        return self.snapshot

    def kept_for(self, name: str) -> float:
        """Seconds for which the place of the member ``name`` is still kept, also if it is back; 0 if it is not."""
        return self._away.kept_for(name, now=trio.current_time())

    def services(self) -> tuple[str, ...]:
        """The names of the services that are offered, in order."""
        return tuple(self.snapshot.offering)

    def member(self, name: str) -> Member | None:
        """The member of that name, if it takes part."""
        return self.snapshot.members.get(name)

    def ring(self, service: str) -> HashRing:
        """The ring of ``service``, an empty one if nobody offers it."""
        return self.snapshot.rings.get(service, self._empty)

    def version(self, service: str) -> str:
        """The version of the ring of ``service``."""
        return self.ring(service).version

    def owner(self, service: str, key: Key) -> Member | None:
        """The owner of ``key`` among the members that offer ``service``; None if its ring is empty.

        Raises:
            ConfigError: this cannot be a key.
        """
        snapshot = self._snapshot
        name = snapshot.rings.get(service, self._empty).lookup(key)
        return None if name is None else snapshot.members[name]

    def place(self, service: str, key: Key) -> tuple[Member | None, str]:
        """What `owner` and `version` say, in one look."""
        place = self._places.get((service, key))
        if place is None:
            snapshot = self._snapshot
            ring = snapshot.rings.get(service, self._empty)
            name = ring.lookup(key)
            place = (None if name is None else snapshot.members[name]), ring.version
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[service, key] = place
        return place

    def owners(self, service: str, key: Key, n: int) -> tuple[Member, ...]:
        """The owner of ``key`` and the members that follow it, ``n`` in all, fewer if there are.

        Raises:
            ConfigError: this cannot be a key, or ``n`` is negative.
        """
        snapshot = self._snapshot
        return tuple(snapshot.members[name] for name in self.ring(service).owners(key, n))

    def offering(self, service: str) -> tuple[Member, ...]:
        """The members that offer ``service``, by name; those of weight 0 only if there are no others."""
        return self.snapshot.offering.get(service, ())


def _active(members: Iterable[Member]) -> dict[str, Member]:
    ordered = sorted(members, key=lambda member: member.name)
    return {member.name: member for member in ordered if member.status.active}


def _matter(members: Mapping[str, Member]) -> list[tuple[object, ...]]:
    """What of the members a snapshot depends on."""
    return [(member.id, member.address, member.metadata) for member in members.values()]


def _version(rings: Mapping[str, HashRing]) -> str:
    told = hashlib.blake2b(digest_size=8, person=b"swimring-rings")
    for name, ring in rings.items():
        told.update(f"{name}\n{ring.version}\n".encode())
    return told.hexdigest()
