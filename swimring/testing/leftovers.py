"""What must not be left on a node when nobody asks for anything: calls, streams, tasks, credit, second connections.

It looks inside of the parts of a node, whose business this is nobody else's.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from swimring.rpc import Here, Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swimring.rpc.connection import Connection

    from .machine import SimNode


def doors(node: SimNode) -> tuple[Pool, Here]:
    """The connections to others, and the one to itself."""
    routing = node.node._routing
    assert routing is not None
    assert isinstance(routing._peers, Pool)
    assert isinstance(routing._here, Here)
    return routing._peers, routing._here


def leftovers(node: SimNode) -> Iterator[str]:
    """What is under way or left over on ``node``, a sentence each."""
    pool, here = doors(node)
    all_connections = [*pool.connections, *([here._calling] if here._calling else [])]
    for connection in all_connections:
        if not connection.open or _under_way(connection):
            yield f"{connection!r} {connection.session!r}"
    if pool._dials:
        yield f"dials {pool._dials}"
    per_peer = Counter(connection.peer_name for connection in pool.connections)
    yield from (f"{count} connections with {name}" for name, count in per_peer.items() if count > 1)
    tasks = Counter(_tasks(node))
    ends = len(pool.connections) + (2 if here._calling else 0)
    expected = {
        "Workers._work": len(pool._workers._idle) + len(here._workers._idle),
        "Workers._serve_alone": 0,
        "Connection._write": ends,
        "Connection._watch": ends,
        "Calling._feed": 0,
        "Reception._receive": sum(not connection.dialled for connection in pool.connections),
    }
    yield from (
        f"{tasks[name]} tasks {name} instead of {count}" for name, count in expected.items() if tasks[name] != count
    )


def _under_way(connection: Connection) -> bool:
    return bool(
        len(connection.calling)
        or len(connection.serving)
        or connection.calling.room.queue
        or connection.serving.credit.queue
        or connection._streams
        or not connection.session.idle
        or connection.session.has_bytes_to_send
        or connection.session._line.open_here
        or connection.session._line.open_there
    )


def _tasks(node: SimNode) -> Iterator[str]:
    """The functions that run in all tasks of a node."""
    roots = [task for task in node._cluster._nursery.child_tasks if task.name == f"simulated {node.name}"]
    while roots:
        task = roots.pop()
        yield task.coro.__qualname__
        for nursery in task.child_nurseries:
            roots += nursery.child_tasks
