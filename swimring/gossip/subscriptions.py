"""Events to those who listen: each has a bounded queue; one that is too slow gets a snapshot instead of a gap."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

from swimring.swim import Resynced

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.swim import Member, MemberEvent

E = TypeVar("E")

QUEUE_LIMIT: Final = 256


class Subscription(Generic[E]):
    """What one listener has not taken yet. Iterate it; it ends when the gossiper does.

    Holds at most 256 events; when one more comes, all are replaced by `Resynced` with everybody as of when it is
    taken.
    """

    def __init__(self, members: Callable[[], tuple[Member, ...]]) -> None:
        """Start empty; ``members`` tells everybody for `Resynced`."""
        self._members = members
        self._events: deque[E] = deque()
        self._overflowed = False
        self._closed = False
        self._news = trio.Event()

    def put(self, event: E) -> None:
        """Queue ``event``; never blocks."""
        if self._overflowed:
            return
        if len(self._events) >= QUEUE_LIMIT:
            self._events.clear()
            self._overflowed = True
        else:
            self._events.append(event)
        self._news.set()

    def close(self) -> None:
        """No more events come; the queued ones can still be taken."""
        self._closed = True
        self._news.set()

    def __aiter__(self) -> Subscription[E]:
        return self

    async def __anext__(self) -> E | Resynced:
        await trio.lowlevel.checkpoint()
        while not self._events and not self._overflowed:
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        if self._overflowed:
            self._overflowed = False
            return Resynced(members=self._members())
        return self._events.popleft()


class Subscriptions:
    """All listeners of one gossiper."""

    def __init__(self, members: Callable[[], tuple[Member, ...]]) -> None:
        """Start with no listener."""
        self._members = members
        self._listeners: set[Subscription[MemberEvent]] = set()

    def add(self) -> Subscription[MemberEvent]:
        """A new listener; it hears what happens from now on."""
        subscription: Subscription[MemberEvent] = Subscription(self._members)
        self._listeners.add(subscription)
        return subscription

    def discard(self, subscription: Subscription[MemberEvent]) -> None:
        """A listener is gone."""
        self._listeners.discard(subscription)

    def publish(self, event: MemberEvent) -> None:
        """Queue ``event`` at each listener."""
        for subscription in self._listeners:
            subscription.put(event)

    def close(self) -> None:
        """End all listeners' iterations."""
        for subscription in self._listeners:
            subscription.close()
