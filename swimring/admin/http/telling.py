"""What the pages tell of a node, as JSON: who is here, who owns what, how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from swimring.builtin import describe
from swimring.ring import CIRCLE

from .messages import json_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swimring.node import Node
    from swimring.ring import HashRing

    from .messages import HttpRequest, HttpResponse

SHOWN_ARCS: Final = 4_096
"""Ranges of a ring that are told at most: more than a picture can show."""
MOST_REPLICAS: Final = 8


async def tell_node(node: Node, _request: HttpRequest) -> HttpResponse:
    """How this node is."""
    now = node.statistics()
    return json_response(
        {
            "name": node.name,
            "cluster": node.cluster,
            "services": sorted(node.me.metadata.services),
            "lag": now.lag,
            "health": now.gossip.health,
            "owned": now.owned,
            "connections": now.calls.connections,
            "streams": now.calls.streams,
            "blocked": now.calls.blocked,
            "calling": now.calls.calling,
            "handling": now.calls.handling,
            "counters": node.counters(),
            "version": now.version,
        }
    )


def members(node: Node) -> list[dict[str, Any]]:
    """Everybody this node knows of, in words."""
    return [{**describe(member), "lag": node.lag(member.name)} for member in node.members]


async def tell_members(node: Node, _request: HttpRequest) -> HttpResponse:
    """Everybody this node knows of."""
    return json_response(members(node))


async def tell_ring(node: Node, request: HttpRequest) -> HttpResponse:
    """The ring of a service, exactly."""
    ring = node.ring(request.query.get("service"))
    # As text: a position has 64 bits, and numbers of JavaScript hold 53.
    arcs = [[str(start), str(end), owner] for start, end, owner in ring.ranges()]
    return json_response({"version": ring.version, "share": ring.share(), "arcs": arcs[:SHOWN_ARCS]})


async def tell_owner(node: Node, request: HttpRequest) -> HttpResponse:
    """Where a key lives, and who follows on the ring."""
    key, service = request.query.get("key", ""), request.query.get("service")
    owner = node.lookup(key, service=service)
    replicas = [member.name for member in node.replicas(key, 2, service=service)]
    position = node.ring(service).position(key)
    found = {"key": key, "owner": owner.name, "replicas": replicas, "position": str(position)}
    return json_response({**found, "at": position / CIRCLE})


def drawn(ring: HashRing) -> dict[str, Any]:
    """A ring to be drawn: where each range begins, as a fraction of the circle, and the number of its owner.

    Neighbours of one owner are one range. Of a ring with very many only as much is told as can be seen.
    """
    names = sorted(ring.nodes)
    numbers = {name: number for number, name in enumerate(names)}
    ranges = list(_merged(ring))
    if len(ranges) > SHOWN_ARCS:
        ranges = list(_sampled(ring))
    return {
        "version": ring.version,
        "nodes": names,
        "share": ring.share(),
        "arcs": [[round(start, 9), numbers[owner]] for start, owner in ranges],
    }


def _merged(ring: HashRing) -> Iterator[tuple[float, str]]:
    before = None
    for start, _end, owner in ring.ranges():
        if owner != before:
            yield start / CIRCLE, owner
        before = owner


def _sampled(ring: HashRing) -> Iterator[tuple[float, str]]:
    before = None
    for number in range(SHOWN_ARCS):
        owner = ring.owner_at((2 * number + 1) * CIRCLE // (2 * SHOWN_ARCS))
        if owner is not None and owner != before:
            yield number / SHOWN_ARCS, owner
        before = owner
