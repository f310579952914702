"""Larger metadata: this node's own, and that of others, fetched over the mesh when it is asked for."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from swimring.builtin import NAMESPACE
from swimring.rpc import outgoing
from swimring.swim import Details

if TYPE_CHECKING:
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

    async def fetch(self, member: Member, routing: Routing) -> Details:
        """The details of ``member``, without a call if its record has none or one whose details are known.

        Raises:
            CallError: it could not be asked.
            RemoteProtocolError: its answer makes no sense.
        """
        digest = member.metadata.details
        if not digest:
            return Details()
        if digest not in self._kept:
            out = outgoing({"ns": NAMESPACE, "cmd": "details"}, idempotent=True)
            found = Details.from_wire(await routing.request_at(member.name, out))
            digest = found.digest  # newer than its record says, if it has changed them just now
            self._kept[digest] = found
        self._kept.move_to_end(digest)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[digest]
