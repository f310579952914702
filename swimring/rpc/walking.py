"""Which calls run here at this moment, for which key, and where each of them waits: found by walking Trio's task tree.

Nothing is noted while calls run. Who asks pays for a walk through the tasks of one nursery, bounded by `MOST_TASKS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from .serving import CallJob

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable, Iterator

    import trio

    from swimring.identity import Key

MOST_TASKS: Final = 20_000
"""Tasks that are looked at; what is beyond is not found."""
MOST_CHILDREN: Final = 50
"""Tasks of one call that are told."""

_SERVING: Final = CallJob.run.__code__


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInCall:
    """A task that a handler started, or one that such a task started.

    Attributes:
        name: Trio's name of the task.
        where: functions it waits in, the outermost first, each as ``function (file:line)``.
        depth: 1 for a task of the handler's own nursery, 2 for one of that task's, and so on.
    """

    name: str
    where: tuple[str, ...]
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCall:
    """One call whose handler runs. No argument of it is told.

    Attributes:
        ns: its service.
        cmd: its command.
        key: its key, if it has one.
        peer: the name of the node or client that sent it.
        began: when it arrived, by Trio's clock.
        deadline: when it is over at the latest, by Trio's clock; `math.inf` for never.
        where: functions the handler waits in, the outermost first, each as ``function (file:line)``.
        children: the tasks below it, parents before children; at most 50.
    """

    ns: str
    cmd: str
    key: Key | None
    peer: str
    began: float
    deadline: float
    where: tuple[str, ...]
    children: tuple[TaskInCall, ...]


def running_calls(nursery: trio.Nursery) -> list[RunningCall]:
    """The calls that run in tasks of ``nursery`` or below it, the oldest first."""
    found = []
    waiting, seen = list(nursery.child_tasks), 0
    while waiting and seen < MOST_TASKS:
        task = waiting.pop()
        seen += 1
        call = _call_of(task)
        if call is not None:
            found.append(call)
        for below in task.child_nurseries:  # a call can arrive below another one: a node may run in a handler
            waiting.extend(below.child_tasks)
    return sorted(found, key=lambda call: call.began)


def _call_of(task: trio.lowlevel.Task) -> RunningCall | None:
    frames = list(task.iter_await_frames())
    at = next((index for index, (frame, _line) in enumerate(frames) if frame.f_code is _SERVING), None)
    if at is None:
        return None
    job: CallJob = frames[at][0].f_locals["self"]
    header = job.header
    return RunningCall(
        ns=header.ns,
        cmd=header.cmd,
        key=header.key,
        peer=job.peer.removesuffix(".here"),
        began=job.arrived,
        deadline=job.deadline,
        where=_outside_of_us(frames[at + 1 :]),
        children=tuple(islice(_below(task), MOST_CHILDREN)),
    )


def _below(task: trio.lowlevel.Task) -> Iterator[TaskInCall]:
    waiting = [(child, 1) for child in reversed(_children(task))]
    while waiting:
        below, depth = waiting.pop()
        yield TaskInCall(name=below.name, where=_outside_of_us(below.iter_await_frames()), depth=depth)
        waiting.extend((child, depth + 1) for child in reversed(_children(below)))


def _children(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    tasks: Iterable[trio.lowlevel.Task] = (child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return sorted(tasks, key=lambda child: child.name)[:MOST_CHILDREN]


def _outside_of_us(frames: Iterable[tuple[types.FrameType, int]]) -> tuple[str, ...]:
    """What of a stack is the handler's: neither Trio's frames nor those that lead from the connection to it."""
    told = []
    for frame, line in frames:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in {"trio", "swimring", "outcome"}:
            told.append(f"{frame.f_code.co_qualname} ({PurePath(frame.f_code.co_filename).name}:{line})")
    return tuple(told)
