"""Broadcasts of one node, running: said, heard, and handed to those who listen."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from swimring.errors import NodeClosed
from swimring.swim import Broadcast, Broadcasts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from swimring.swim import Membership, Profile, Recall

QUEUE_LIMIT: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A listener was too slow: ``count`` broadcasts that came before the next one are lost to it."""

    count: int


BroadcastEvent: TypeAlias = Broadcast | Missed


class BroadcastSubscription:
    """What one listener has not taken yet. Iterate it; it ends when the gossiper does.

    Holds at most 256 broadcasts; when one more comes, the oldest is dropped, and the next thing taken is a `Missed`
    with the number of those that were.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._waiting: deque[Broadcast] = deque()
        self._missed = 0
        self._closed = False
        self._news = trio.Event()

    def put(self, broadcast: Broadcast) -> None:
        """Queue ``broadcast``; never blocks."""
        if len(self._waiting) >= QUEUE_LIMIT:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(broadcast)
        self._news.set()

    def close(self) -> None:
        """No more broadcasts come; the queued ones can still be taken."""
        self._closed = True
        self._news.set()

    def __aiter__(self) -> BroadcastSubscription:
        return self

    async def __anext__(self) -> BroadcastEvent:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        if self._missed:
            missed, self._missed = Missed(count=self._missed), 0
            return missed
        return self._waiting.popleft()


class Broadcasting:
    """What the duties of one node share about broadcasts."""

    def __init__(self, membership: Membership, profile: Profile) -> None:
        """Nothing was said; ``new`` is whether this node has exchanged states with nobody yet."""
        self.broadcasts = Broadcasts()
        self.new = True
        self._listeners: set[BroadcastSubscription] = set()
        self.followers: list[Callable[[], None]] = []
        self._membership = membership
        self._profile = profile
        self._room = trio.Event()
        self._closed = False

    async def say(self, name: str, payload: object) -> None:
        """Tell everybody; waits while the queue is full.

        Raises:
            LocalProtocolError: it is too large, or cannot be encoded.
            NodeClosed: this node has left.
        """
        await trio.lowlevel.checkpoint()
        while not self._closed and self.broadcasts.queue.full(members=self._members):
            if self._room.is_set():  # else others wait for it already
                self._room = trio.Event()
            await self._room.wait()
        if self._closed or self._membership.leaving:
            raise NodeClosed("this node has left its cluster")
        mine = self.broadcasts.say(
            name,
            payload,
            origin=self._membership.me.id,
            limit=self._profile.largest_broadcast,
            members=self._members,
        )
        self._tell(mine)

    def hear(self, broadcasts: Iterable[Broadcast]) -> None:
        """Take broadcasts that arrived."""
        for broadcast in broadcasts:
            if self.broadcasts.hear(broadcast, members=self._members):
                self._tell(broadcast)

    def sent(self) -> None:
        """Some may have left the queue, because they were sent often enough or because there is nobody to hear them."""
        if self._membership.active_count == 1:
            self.broadcasts.queue.clear()
        if not self.broadcasts.queue.full(members=self._members):
            self._room.set()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[BroadcastSubscription]:
        """A listener, while the block runs."""
        await trio.lowlevel.checkpoint()
        subscription = BroadcastSubscription()
        self._listeners.add(subscription)
        try:
            yield subscription
        finally:
            self._listeners.discard(subscription)

    def take_recall(self, recall: Recall) -> tuple[bytes, ...]:
        """Compare with what somebody has heard; the ids of what we want to hear, too."""
        missed = self.broadcasts.lacks(recall)
        if not self.new:
            return missed
        self.broadcasts.take_for_heard(missed)
        return ()

    def close(self) -> None:
        """End the listeners' iterations, and the waiting of those who have something to say."""
        self._closed = True
        self._room.set()
        for listener in self._listeners:
            listener.close()

    def _tell(self, broadcast: Broadcast) -> None:
        for listener in self._listeners:
            listener.put(broadcast)
        for follow in self.followers:
            follow()

    @property
    def _members(self) -> int:
        return self._membership.active_count
