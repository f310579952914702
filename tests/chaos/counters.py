"""The service under load: counters whose state is copied to two other nodes before a call is answered."""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING, Any, cast

from swimring import Request, Service
from swimring.identity import Fence
from swimring.ownership.holdings import Copy, Verdict, place_of

if TYPE_CHECKING:
    from swimring import Node

app = Service("counter")
REPLICAS = int(os.environ.get("CHAOS_REPLICAS", "2"))
counters = app.own_keys(int, replicas=REPLICAS)


@app.on("add")
async def add(request: Request, by: int = 1) -> int:
    own = counters.of(request)
    own.state += by
    await own.checkpoint()
    return own.state


@app.on("read", idempotent=True)
async def read(request: Request) -> int:
    return counters.of(request).state


@app.on("about", idempotent=True)
async def about(request: Request) -> dict[str, Any]:
    """What one node owns and holds, and what it costs; asked without a key."""
    return report_of(cast("Node", request.node))


@app.on("fences", idempotent=True)
async def fences(request: Request) -> dict[str, int]:
    """The number of the fence of each key that is open on one node."""
    node = cast("Node", request.node)
    return {one.key.decode(): one.fence.number for one in node.ownership.open_keys() if one.service == app.name}


@app.on("fill", idempotent=True)
async def fill(request: Request, first: int, count: int) -> int:
    """Keep what one node should keep of these counters as if each had been counted once; how many it keeps."""
    node = cast("Node", request.node)
    ring, kept = node.ring(app), 0
    for number in range(first, first + count):
        place = place_of(app.name, f"k{number}")
        if node.name in ring.owners(place[1], REPLICAS + 1):
            state = counters.dump(1)
            copy = Copy(place=place, fence=Fence(1, "filler"), sequence=1, replicas=REPLICAS, state=state)
            kept += node.ownership.holdings.put(copy) is Verdict.HELD
    return kept


@app.on("inventory", idempotent=True)
async def inventory(request: Request, first: int, count: int) -> int:
    """How many of these counters one node owns and has a copy of."""
    node = cast("Node", request.node)
    holdings = node.ownership.holdings
    places = (place_of(app.name, f"k{number}") for number in range(first, first + count))
    return sum(holdings.get(place) is not None for place in places if node.lookup(place[1]).name == node.name)


def report_of(node: Node) -> dict[str, Any]:
    now = node.ownership_statistics()
    return {
        "scopes": now.scopes,
        "copies": now.copies,
        "copy_bytes": now.copy_bytes,
        "keys_left": now.keys_left,
        "bytes_sent": now.bytes_sent,
        "cpu": time.process_time(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
