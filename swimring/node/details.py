"""Larger metadata: this node's own, and that of others, fetched over the mesh when it is asked for."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from swimring.builtin import NAMESPACE
from swimring.rpc import outgoing
from swimring.swim import Details

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.rpc import Routing
    from swimring.swim import Member

KEPT: Final = 64
"""Details of others that are kept, of at most 64 KiB each; the one not asked for longest goes first."""


class DetailsOfMembers:
    """Fetches details, and keeps them under their hash: whoever changes them says so by gossip."""

    def __init__(self, mine: Details) -> None:
        """``mine`` are those of this node."""
        self.mine = mine
        self._kept: OrderedDict[bytes, Details] = OrderedDict()
        self._fetching: dict[tuple[str, bytes], trio.Lock] = {}

    async def fetch(self, member: Member, routing: Routing) -> Details:
        """The details of ``member``, without a call if its record has none or one whose details are known.

        Several that want the same wait for the first; when that one fails or is cancelled, the next one asks.

        Raises:
            CallError: it could not be asked.
            RemoteProtocolError: its answer makes no sense.
        """
        digest = member.metadata.details
        if not digest:
            return Details()
        if (kept := self._known(digest)) is not None:
            return kept
        async with self._one_at_a_time(member.name, digest):
            if (kept := self._known(digest)) is not None:
                return kept
            out = outgoing({"ns": NAMESPACE, "cmd": "details"}, idempotent=True)
            found = Details.from_wire(await routing.request_at(member.name, out))
            self._kept[found.digest] = found  # newer than its record says, if it has changed them just now
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found

    def _known(self, digest: bytes) -> Details | None:
        if digest in self._kept:
            self._kept.move_to_end(digest)
        return self._kept.get(digest)

    @asynccontextmanager
    async def _one_at_a_time(self, name: str, digest: bytes) -> AsyncIterator[None]:
        lock = self._fetching.setdefault((name, digest), trio.Lock())
        try:
            async with lock:
                yield
        finally:
            waiting = lock.statistics()
            if not waiting.locked and not waiting.tasks_waiting:
                self._fetching.pop((name, digest), None)
