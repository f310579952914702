"""The rule that nothing leaks: no task, listener, connection or stream outlives the node or the call that it was for.

A cluster has it from the start. What it means at every moment:

- **A node that has ended has left nothing**, asked at the moment it ends: no task that was begun by one of its tasks
  runs anywhere, and if it was drained, it has closed its sockets, its listener and its ends of connections. What a
  killed process had open is closed by its kernel.
- **A killed node ends**: no task of it holds on for longer than the grace.
- **A call that has ended is gone on both ends.** Whatever a connection has under way is known at both ends, somebody
  waits for it or serves it, and what is not so is put in order within the grace. It is looked at once a virtual second,
  while both ends run, nothing is in transit between them and the cluster is quiet (`SimCluster.quiet_for`).
- **Tasks have a bound**: no node has more of them than its connections, calls and open keys take, and ``tasks`` more.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from .leftovers import count_tasks, oddities, sockets_of, tasks_by_host, tasks_of, work_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swimring.rpc.connection import Connection

    from .cluster import SimCluster
    from .fabric import Life
    from .invariants import Invariant

GRACE: Final = 5.0
"""Virtual seconds that it may take to put things in order."""
TASKS: Final = 1000
"""Tasks that a node may have beside those of its connections, calls and open keys."""

_LOOKS_EVERY: Final = 1.0
_PER_WORK: Final = 10
_SHOWN: Final = 5


def nothing_leaks(*, grace: float = GRACE, tasks: int = TASKS) -> Invariant:
    """No task, listener, connection or stream outlives the node or the call that it was for.

    Every cluster of a simulation has this rule from the start, unless `open_sim_cluster(rules=...)` says otherwise.

    Args:
        grace: virtual seconds that it may take to put things in order.
        tasks: how many tasks a node may have beside ten for each of its connections, calls and open keys.
    """
    look = _Look(grace, tasks)

    def nothing_leaks(cluster: SimCluster) -> Iterator[str]:
        for node in cluster.nodes:
            yield from node.left_behind
        yield from look.at(cluster)

    return nothing_leaks


def left_behind(host: str, life: Life | None, *, drained: bool) -> list[str]:
    """What is left of ``host``, whose life ends with the current task."""
    left = [f"{host} has ended, and its task {task} has not" for task in tasks_of(host)]
    if drained and life is not None:
        left += [f"{host} has left, and has not closed {socket}" for socket in sockets_of(life)]
    return _some(left)


class _Look:
    """What one rule remembers from one look to the next."""

    def __init__(self, grace: float, tasks: int) -> None:
        self._grace = grace
        self._tasks = tasks
        self._since: dict[tuple[Connection, int, str], float] = {}
        self._next = 0.0
        self._many = tasks

    def at(self, cluster: SimCluster) -> Iterator[str]:
        now, due = trio.current_time(), False
        if now >= self._next:
            self._next, due = now + _LOOKS_EVERY, True
            yield from _some([*self._killed(cluster, now), *self._under_way(cluster, now)])
        if due or count_tasks() > self._many:
            yield from self._too_many(cluster)

    def _killed(self, cluster: SimCluster, now: float) -> Iterator[str]:
        for node in cluster.nodes:
            if node.killed_at is not None and now - node.killed_at >= self._grace:
                for task in tasks_of(node.name):
                    yield f"{node.name} was killed at {node.killed_at:.3f} s, and its task {task} goes on"

    def _under_way(self, cluster: SimCluster, now: float) -> Iterator[str]:
        before, self._since = self._since, {}
        for oddity in oddities(cluster.awake):
            what = oddity.place, oddity.number, oddity.text
            since = self._since[what] = before.get(what, now)
            if min(now - since, cluster.quiet_for) >= self._grace + oddity.usual:
                yield f"{oddity.text} since {since:.3f} s: {oddity.place!r}"

    def _too_many(self, cluster: SimCluster) -> Iterator[str]:
        """Ask each node, and remember how many tasks there may be in all before it is worth asking again."""
        self._many = max(self._tasks, count_tasks())
        if count_tasks() <= self._tasks:
            return
        rooms = [self._tasks]
        counts = tasks_by_host()
        for node in cluster.running:
            count = counts.get(node.name, Counter())
            total = count.total()
            room = self._tasks + _PER_WORK * work_of(node) - total
            rooms.append(room)
            if room < 0:
                most = max(sorted(count), key=count.__getitem__)
                yield f"{node.name} has {total} tasks, {count[most]} of them {most}"
        self._many += min(rooms)


def _some(left: list[str]) -> list[str]:
    return left if len(left) <= _SHOWN else [*left[:_SHOWN], f"and {len(left) - _SHOWN} more of that kind"]
