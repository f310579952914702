"""The snapshots of the rings, one after the other, for somebody who has a task for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .rebalancer import RingSnapshot


class Follower:
    """Iterate it: the snapshot at its start, then newer ones. It holds one, the latest: who is slow skips the others.

    The latest is never lost: it is given before the iteration ends.
    """

    def __init__(self, current: RingSnapshot) -> None:
        """Begin with ``current``."""
        self._latest: RingSnapshot | None = current
        self._closed = False
        self._news = trio.Event()

    def put(self, snapshot: RingSnapshot) -> None:
        """There is a newer one; never blocks."""
        self._latest = snapshot
        self._news.set()

    def close(self) -> None:
        """No newer one will come."""
        self._closed = True
        self._news.set()

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> RingSnapshot:
        await trio.lowlevel.checkpoint()
        while self._latest is None:
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        taken, self._latest = self._latest, None
        return taken
