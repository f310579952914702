"""Holds back the tasks of single hosts: a process that is stopped or slow, in a world that goes on.

Trio cannot stop some of its tasks. But whatever wakes a task puts it into one run queue, so during a simulation that
queue is ours: a task that belongs to a stopped host waits beside it until the host goes on. As with a stopped process,
its timers fire and its buffers fill meanwhile, and it learns of all that when it wakes.
"""

from __future__ import annotations

import contextlib
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import trio
from trio._core import _run as scheduler

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .fabric import Post

_host: Final[ContextVar[str]] = ContextVar("simulated_host")


class Gate:
    """Which hosts are stopped or late, and their tasks that should run."""

    def __init__(self, post: Post) -> None:
        """All hosts run. ``post`` delivers the wake-ups of late ones."""
        self._post = post
        self._queue = _RunQueue(self)
        self._stopped: dict[str, list[trio.lowlevel.Task]] = {}
        self._late: dict[str, float] = {}

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Within the block the run queue of Trio asks this gate; the tasks of all hosts end before the block does."""
        runner = scheduler.GLOBAL_RUN_CONTEXT.runner
        before = runner.runq
        self._queue.extend(before)
        runner.runq = self._queue
        try:
            yield
        finally:
            before.clear()
            before.extend(self._queue)
            runner.runq = before

    def stop(self, host: str) -> None:
        """From their next step on the tasks of ``host`` wait."""
        self._stopped.setdefault(host, [])
        self._queue.watched = True

    def go_on(self, host: str) -> None:
        """The tasks that would have run meanwhile run now, in the order they were woken in."""
        for task in self._stopped.pop(host, ()):
            self._queue.let(task)
        self._queue.watched = bool(self._stopped or self._late)

    @contextlib.contextmanager
    def late(self, host: str, seconds: float) -> Iterator[None]:
        """Within the block every task of ``host`` runs ``seconds`` after it was woken.

        Raises:
            ConfigError: the host is late already.
        """
        if host in self._late:
            raise ConfigError("host", host, "its event loop is slow already: one delay at a time")
        self._late[host] = seconds
        self._queue.watched = True
        try:
            yield
        finally:
            del self._late[host]
            self._queue.watched = bool(self._stopped or self._late)

    def admits(self, task: trio.lowlevel.Task) -> bool:
        """Whether ``task`` may run now; if not, it will be let through later."""
        host = host_of(task)
        if host is None:
            return True
        if host in self._stopped:
            self._stopped[host].append(task)
            return False
        delay = self._late.get(host)
        if delay is None:
            return True
        self._post.at(trio.current_time() + delay, lambda: self._wake_late(host, task))
        return False

    def _wake_late(self, host: str, task: trio.lowlevel.Task) -> None:
        if host in self._stopped:
            self._stopped[host].append(task)
        else:
            self._queue.let(task)


class _RunQueue(deque[trio.lowlevel.Task]):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        self.watched = False

    def append(self, task: trio.lowlevel.Task) -> None:
        if not self.watched or self._gate.admits(task):
            super().append(task)

    def let(self, task: trio.lowlevel.Task) -> None:
        super().append(task)


def host_of(task: trio.lowlevel.Task) -> str | None:
    """The host that ``task`` belongs to, if it is one of a simulated node.

    Those that its tasks have begun do, wherever they run; and those that run in it, whoever has begun them: a
    connection that is dialled because the test calls somebody is the node's.
    """
    around: trio.lowlevel.Task | None = task
    while around is not None:
        host = around.context.get(_host)
        if host is not None:
            return host
        around = None if around.parent_nursery is None else around.parent_nursery.parent_task
    return None


def begun_by(task: trio.lowlevel.Task) -> str | None:
    """The host whose tasks have begun ``task``."""
    return task.context.get(_host)


@contextlib.contextmanager
def belonging_to(host: str) -> Iterator[None]:
    """Tasks started within the block, and theirs, belong to ``host``."""
    token = _host.set(host)
    try:
        yield
    finally:
        _host.reset(token)
