"""Waiting for a cluster to form: why a cold start with stale seeds makes one cluster and never two."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from swimring import swim
from swimring.builtin import NAMESPACE
from swimring.errors import NotOwner
from swimring.mux import ITEMS
from swimring.service import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.gossip import Gossiper, Subscription
    from swimring.identity import Address
    from swimring.rpc import Incoming, Serve
    from swimring.service import Dispatcher, NodeView
    from swimring.swim import Member, MemberEvent, Metadata

_LIVES_OF_A_NAME: Final = 3
"""After so many generations it is no earlier life that we outbid, but another node of our name that outbids us."""

_ASKED: Final = 3

_log = logging.getLogger("swimring.node")


async def gather(gossiper: Gossiper, *, metadata: Metadata, expect: int) -> None:
    """Wait until ``expect`` members wait like this node, or one owns something; then take part with ``metadata``.

    It returns when all who waited have seen the same: whoever goes on before them would see a ring without them.
    """
    me = gossiper.me
    seen = 0

    def is_formed(members: tuple[Member, ...]) -> bool:
        nonlocal seen
        count = swim.count_gathered(members)
        if count != seen:
            _log.info(
                "%s at %s waits for a cluster of %d members, %d here",
                me.name,
                me.address,
                expect,
                count,
                extra={"event": "cluster.gathering"},
            )
            seen = count
        return swim.is_formed(members, expect=expect)

    generations: set[int] = set()

    def is_formed_or_disputed(members: tuple[Member, ...]) -> bool:
        generations.add(gossiper.me.generation)
        return is_formed(members) or len(generations) > _LIVES_OF_A_NAME

    async with gossiper.events() as events:
        with gossiper.joining():
            await _wait(gossiper, events, is_formed_or_disputed)
        await _wait(gossiper, events, is_formed)
        # A rumour may have told it before anybody told us who else is here: "nobody waits" needs to know everybody.
        await gossiper.join(_whom_to_ask(gossiper))
        await gossiper.update_metadata(metadata)
        await _wait(gossiper, events, swim.all_have_formed)
    _log.info(
        "%s is in a cluster of %d members",
        me.name,
        swim.count_gathered(gossiper.members),
        extra={"event": "cluster.formed"},
    )


def answering_while_gathering(node: NodeView, dispatcher: Dispatcher) -> Serve:
    """What answers for a node that waits: what every node says about itself; anything else may be tried elsewhere."""

    async def serve(incoming: Incoming) -> object:
        if incoming.header.ns != NAMESPACE:
            raise NotOwner(f"{node.name} waits for its cluster to form", key=incoming.header.key, owner=node.name)
        bound = dispatcher.match(incoming.message)
        bound.check_streams(incoming.streams)
        request = Request(node=node, message=incoming.message, peer=incoming.peer, deadline=incoming.deadline)
        incoming.begin()
        return await bound.invoke(request, incoming.streams.get(ITEMS))

    return serve


def _whom_to_ask(gossiper: Gossiper) -> list[Address]:
    """Some living members, first those that do not wait themselves."""
    others = [member for member in gossiper.members if member.name != gossiper.me.name]
    alive = [member for member in others if member.status is swim.Status.ALIVE]
    return [member.address for member in sorted(alive, key=swim.gathers)[:_ASKED]]


async def _wait(
    gossiper: Gossiper, events: Subscription[MemberEvent], holds: Callable[[tuple[Member, ...]], bool]
) -> None:
    if holds(gossiper.members):
        return
    async for _ in events:
        if holds(gossiper.members):
            return
