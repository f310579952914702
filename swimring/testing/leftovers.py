"""What must not be left on a node when nobody asks for anything: calls, streams, tasks, credit, second connections.

It looks inside of the parts of a node, whose business this is nobody else's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import trio
from trio._core import _run as scheduler

from swimring.rpc import Here, Pool

from .gate import host_of
from .sockets import SimulatedDatagrams, SimulatedListener
from .streams import SimulatedStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swimring.rpc.connection import Connection

    from .fabric import Life
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


# ----------------------------------------------------------------------------------------- while calls are under way


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """What may be on its way to being put in order, and is a leak if it stays.

    Attributes:
        place: the connection that it is about.
        number: of the call or stream; 0 for the connection itself.
        text: what is wrong, in words.
        usual: seconds for which it may last in any case.
    """

    place: Connection
    number: int
    text: str
    usual: float = 0.0


def oddities(nodes: Sequence[SimNode]) -> Iterator[Oddity]:
    """What the connections of ``nodes``, which run, have that nobody waits for, or that one end alone knows of."""
    ends: dict[trio.abc.Stream, Connection] = {}
    for node in nodes:
        pool, here = doors(node)
        ends.update((connection._stream, connection) for connection in pool.connections)
        if here._calling is not None and here._calling.open:
            yield from _forgotten(node.name, here._calling)
    names = {connection: node.name for node in nodes for connection in doors(node)[0].connections}
    for stream, connection in ends.items():
        if not isinstance(stream, SimulatedStream) or not connection.open or not _quiet(connection, stream):
            continue
        peer = stream._peer
        other = ends.get(peer)
        name = names[connection]
        if other is not None and other.open and _quiet(other, peer):
            yield from _forgotten(name, connection)
            if connection.dialled:
                yield from _one_sided(name, connection, names[other], other)
        elif other is None and peer._closed:
            limits = connection.limits
            yield Oddity(
                place=connection,
                number=0,
                text=f"{name} keeps a connection to {connection.peer_name}, whose end is gone",
                usual=limits.idle_interval + limits.idle_patience,
            )


def _quiet(connection: Connection, stream: SimulatedStream) -> bool:
    """Whether nothing of this end is on its way, waits to be written or waits to be read."""
    writer = connection._writer
    return not (
        stream._outgoing._queue or stream._unread or writer._unsent or writer._busy or connection.session._line.outbox
    )


def _forgotten(name: str, connection: Connection) -> Iterator[Oddity]:
    session, peer = connection.session, connection.peer_name
    line = session._line
    if not (line.open_here or line.open_there):
        return
    for number, call in session._calls._made_here.items():
        if number not in connection.calling._pending and not call.cast:
            text = f"a call of {name} to {peer} has ended, and its handler still runs"
            yield Oddity(place=connection, number=number, text=text)
    for number in session._calls._made_there:
        if number not in connection.serving._jobs:
            yield Oddity(place=connection, number=number, text=f"{name} has a call of {peer} that no task serves")
    for number in session._streams._streams:
        if number not in connection._streams._streams:
            text = f"{name} has a stream with {peer} that no task reads or writes"
            yield Oddity(place=connection, number=number, text=text)


def _one_sided(name: str, connection: Connection, peer: str, other: Connection) -> Iterator[Oddity]:
    here, there = connection.session, other.session
    one, two = here._line, there._line
    if not (one.open_here or one.open_there or two.open_here or two.open_there):
        return
    known = {*here._calls._made_here, *here._calls._made_there, *here._streams._streams}
    known_there = {*there._calls._made_here, *there._calls._made_there, *there._streams._streams}
    for number in sorted(known ^ known_there):
        knows, lacks = (name, peer) if number in known else (peer, name)
        text = f"{knows} has a call or a stream with {lacks}, which does not know of it"
        yield Oddity(place=connection, number=number, text=text)


# ------------------------------------------------------------------------------------------- when a life has ended


def tasks_of(host: str) -> list[str]:
    """All tasks that belong to ``host``, wherever they run, but for the one that asks: their names, in order."""
    asking = trio.lowlevel.current_task()
    tasks = scheduler.GLOBAL_RUN_CONTEXT.runner.tasks
    return sorted(_named(task) for task in tasks if task is not asking and host_of(task) == host)


def tasks_by_host() -> dict[str, Counter[str]]:
    """How many tasks of which name each host has."""
    counts: dict[str, Counter[str]] = {}
    for task in scheduler.GLOBAL_RUN_CONTEXT.runner.tasks:
        host = host_of(task)
        if host is not None:
            counts.setdefault(host, Counter())[_named(task)] += 1
    return counts


def work_of(node: SimNode) -> int:
    """How many connections, calls and open keys ``node`` has: each takes a few tasks."""
    pool, here = doors(node)
    connections = [*pool.connections, *([here._calling] if here._calling else [])]
    calls = sum(len(each.calling) + len(each.serving) for each in connections)
    idle = len(pool._workers._idle) + len(here._workers._idle)
    return len(connections) + calls + idle + len(list(node.node.ownership.open_keys()))


def count_tasks() -> int:
    """How many tasks there are in all."""
    return len(scheduler.GLOBAL_RUN_CONTEXT.runner.tasks)


def sockets_of(life: Life) -> list[str]:
    """What ``life`` has opened and not closed: sockets, listeners, ends of connections."""
    kinds = (SimulatedDatagrams, SimulatedListener, SimulatedStream)
    return [repr(socket) for socket in life._sockets if isinstance(socket, kinds)]


def _named(task: trio.lowlevel.Task) -> str:
    code = getattr(task.coro, "cr_code", None)  # not all is a coroutine of Python
    return f"{task.name} ({PurePath(code.co_filename).name}:{code.co_firstlineno})" if code else task.name
