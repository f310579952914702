"""The service under load: counters whose state is copied to two other nodes before a call is answered."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Any, cast

from swimring import Request, Service

if TYPE_CHECKING:
    from swimring import Node

app = Service("counter")
counters = app.own_keys(int, replicas=2)


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
