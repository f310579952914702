"""What a node checks of a call that arrived, before anything of it runs: whether its key lives here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimring.errors import Moved, NotOwner
from swimring.policies import MAX_HOPS

from .routing import DIRECT

if TYPE_CHECKING:
    from swimring.mux import CallHeader

    from .routing import RingView


def refuse_unless_owner(view: RingView, me: str, header: CallHeader) -> None:
    """What a node checks before it handles a call that arrived: it owns the key, as far as it knows.

    A call without a key, one that was addressed to this node by name (`DIRECT`), and one for a service that has no
    members in the view (then the handlers decide) pass.

    Raises:
        Moved: another member owns the key; with its record, and this node's own.
        NotOwner: the same, and so many nodes were asked before that the caller should wait and see.
    """
    if header.key is None or header.hops == DIRECT:
        return
    owner, _version = view.place(header.ns, header.key)
    if (owner is not None and owner.name == me) or not view.offering(header.ns):
        return
    told = f"{me} does not own this key of {header.ns!r}: " + (f"{owner.name} does" if owner else "nobody takes keys")
    if header.hops >= MAX_HOPS:
        raise NotOwner(f"{told}; {header.hops} nodes were asked before", key=header.key, owner=me)
    mine = view.member(me)
    records = tuple(member.to_wire() for member in (owner, mine) if member is not None)
    raise Moved(told, records=records, key=header.key, owner=me)
