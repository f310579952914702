"""Watching single keys that live here: who holds their replicas, and when they move away.

What is told is the difference between what somebody took last and what holds now. So a watcher needs no queue, one
that is slow hears of the newest state, and the move, which is the last thing that happens to a key here, stays.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import trio

from swimring.errors import ConfigError
from swimring.identity import key_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from swimring.identity import Key
    from swimring.swim import Member

    from .rebalancer import Rebalancer, RingSnapshot

Reason: TypeAlias = Literal["joined", "rebalanced", "cordoned", "left", "closed"]

_POINTS_PER_LOOKUP: Final = 8
"""Comparing two rings costs about as much for so many points as looking up one key does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The key lives here no more. The last thing that a tracker tells."""

    to: Member | None
    """Its owner now; None if nobody offers the service any more, or if this node has closed."""
    reason: Reason
    """``joined``: the owner is new on the ring. ``rebalanced``: it takes more than before, or this node less.

    ``cordoned``: this node takes no keys any more. ``left``: it said farewell. ``closed``: it ended while the key was
    its own.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaChanged:
    """A replica of the key belongs on another member, or on the same one in a new life, which has forgotten it."""

    new: Member | None
    """Who holds one now; None if there are fewer members than replicas."""
    old: Member | None
    """Whose place it takes; None if there were fewer."""


class Tracker:
    """What happens to one key. Iterate it; it ends after `Moved`.

    Holds the state that was taken last and the newest one: nothing piles up while nobody takes.
    """

    def __init__(self, replicas: Sequence[Member]) -> None:
        """Nothing has been taken yet; the key lives here, with its replicas on ``replicas``."""
        self._told: list[Member] = []
        self._now = list(replicas)
        self._moved: Moved | None = None
        self._over = False
        self._news = trio.Event()

    def see(self, replicas: Sequence[Member]) -> None:
        """The replicas are there now; order does not matter."""
        if self._moved is None:
            self._now = list(replicas)
            self._news.set()

    def end(self, moved: Moved) -> None:
        """The key is gone; a second time changes nothing."""
        if self._moved is None:
            self._moved = moved
            self._news.set()

    def take(self) -> Moved | ReplicaChanged | None:
        """What has to be told next, as told from now on; None if there is nothing."""
        if self._moved is not None:
            moved = None if self._over else self._moved
            self._over = True
            return moved
        new = _first_not_in(self._now, self._told)
        old = _first_not_in(self._told, self._now)
        if new is None and old is None:
            return None
        if new is not None:  # the earlier life of the same member, if it has one, goes first
            old = next((each for each in self._told if each.name == new.name), old)
        if old is not None:
            self._told.remove(old)
        if new is not None:
            self._told.append(new)
        return ReplicaChanged(new=new, old=old)

    def __aiter__(self) -> Tracker:
        return self

    async def __anext__(self) -> Moved | ReplicaChanged:
        await trio.lowlevel.checkpoint()
        while (told := self.take()) is None:
            if self._over:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        return told


def _first_not_in(members: Iterable[Member], others: Iterable[Member]) -> Member | None:
    """The first of ``members`` whose life is none of ``others``: another address or other metadata do not matter."""
    lives = {other.id for other in others}
    return next((member for member in members if member.id not in lives), None)


class _Watched:
    """The trackers of one key, and where it is on the circle."""

    __slots__ = ("key", "position", "trackers")

    def __init__(self, key: Key, position: int) -> None:
        self.key = key
        self.position = position
        self.trackers: dict[Tracker, int] = {}
        """Each with the number of replicas it asks for."""


class _WatchedKeys:
    """All watched keys of one service, in the order of their positions."""

    def __init__(self) -> None:
        self._at: dict[int, _Watched] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self._at)

    def add(self, key: Key, position: int, tracker: Tracker, replicas: int) -> None:
        watched = self._at.get(position)
        if watched is None:
            watched = self._at[position] = _Watched(key, position)
            insort(self._order, position)
        watched.trackers[tracker] = replicas

    def discard(self, position: int, tracker: Tracker) -> None:
        watched = self._at[position]
        del watched.trackers[tracker]
        if not watched.trackers:
            del self._at[position]
            del self._order[bisect_left(self._order, position)]

    def between(self, start: int, end: int) -> list[_Watched]:
        order = self._order
        return [self._at[position] for position in order[bisect_left(order, start) : bisect_left(order, end)]]

    def all(self) -> list[_Watched]:
        return list(self._at.values())

    @property
    def most_replicas(self) -> int:
        return max((count for watched in self._at.values() for count in watched.trackers.values()), default=0)


class Tracking:
    """All trackers of one node: shows each change of a ring to those whose keys it concerns."""

    def __init__(self, rebalancer: Rebalancer, *, me: Callable[[], str]) -> None:
        """Watch for the node whose name ``me`` tells; `follow` and `close` are its to call."""
        self._rebalancer = rebalancer
        self._me = me
        self._services: dict[str, _WatchedKeys] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many keys are tracked."""
        return sum(len(watched) for watched in self._services.values())

    def keys(self) -> Iterator[tuple[str, bytes]]:
        """The service and the key of each, as bytes."""
        for service, watched in self._services.items():
            for one in watched.all():
                yield service, key_bytes(one.key)

    @contextmanager
    def open(self, service: str, key: Key, *, replicas: int) -> Iterator[Tracker]:
        """Track ``key``, which lives here, with that many replicas, while the block runs.

        Raises:
            ConfigError: this cannot be a key, or ``replicas`` is negative.
        """
        if replicas < 0:
            raise ConfigError("replicas", replicas, "ask for zero or more")
        position = self._rebalancer.ring(service).position(key)
        tracker = Tracker(self._rebalancer.owners(service, key, 1 + replicas)[1:])
        if self._closed:
            tracker.end(Moved(to=None, reason="closed"))
        watched = self._services.setdefault(service, _WatchedKeys())
        watched.add(key, position, tracker, replicas)
        try:
            yield tracker
        finally:
            watched.discard(position, tracker)
            if not watched:
                self._services.pop(service, None)

    def follow(self, old: RingSnapshot, new: RingSnapshot) -> None:
        """The rings have changed."""
        before = old.members
        renewed = {name for name, one in new.members.items() if name in before and before[name].id != one.id}
        for service, keys in tuple(self._services.items()):
            if renewed or old.rings.get(service) is not new.rings.get(service):
                self._follow(service, keys, old, new, renewed)

    def close(self) -> None:
        """The node has left; what it still owned is nobody's to watch."""
        self._closed = True
        for keys in self._services.values():
            for watched in keys.all():
                for tracker in watched.trackers:
                    tracker.end(Moved(to=None, reason="closed"))

    def _follow(
        self, service: str, keys: _WatchedKeys, old: RingSnapshot, new: RingSnapshot, renewed: set[str]
    ) -> None:
        copies, ring = keys.most_replicas, new.rings.get(service)
        if ring is not None and len(keys) < ring.points / _POINTS_PER_LOOKUP:
            for watched in keys.all():
                self._show(service, watched, new.owners(service, watched.key, 1 + copies), old, new)
            return
        for change in new.reassigned_since(old, service, copies=copies):
            self._show_range(service, keys.between(change.start, change.end), change.after, old, new)
        if ring is not None and renewed:
            start = 0
            for end, owners in ring.spans(1 + copies):
                if not renewed.isdisjoint(owners):
                    self._show_range(service, keys.between(start, end), owners, old, new)
                start = end

    def _show_range(
        self,
        service: str,
        all_watched: Iterable[_Watched],
        names: Sequence[str],
        old: RingSnapshot,
        new: RingSnapshot,
    ) -> None:
        owners = tuple(new.members[name] for name in names)
        for watched in all_watched:
            self._show(service, watched, owners, old, new)

    def _show(
        self, service: str, watched: _Watched, owners: tuple[Member, ...], old: RingSnapshot, new: RingSnapshot
    ) -> None:
        owner = owners[0] if owners else None
        if owner is not None and owner.name == self._me():
            for tracker, replicas in watched.trackers.items():
                tracker.see(owners[1 : 1 + replicas])
            return
        moved = Moved(to=owner, reason=self._why(service, owner, old, new))
        for tracker in watched.trackers:
            tracker.end(moved)

    def _why(self, service: str, owner: Member | None, old: RingSnapshot, new: RingSnapshot) -> Reason:
        me = self._me()
        if me not in new.members:
            return "left"
        if me not in new.rings.get(service, ()):
            return "cordoned"
        if owner is not None and owner.name not in old.rings.get(service, ()):
            return "joined"
        return "rebalanced"
