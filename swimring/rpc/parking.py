"""Tasks that wait without an Event or a channel: parked on themselves, woken by name. Costs half of either."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Signal:
    """One task waits for a word from others; a word said early is not lost."""

    __slots__ = ("_said", "_task")

    def __init__(self) -> None:
        """Nobody waits, nothing was said."""
        self._said = False
        self._task: trio.lowlevel.Task | None = None

    def say(self) -> None:
        """Wake the task that waits, or the next that will."""
        if self._task is None:
            self._said = True
        else:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Wait for a word. It returns at once, without a checkpoint, if one was said since the last time."""
        if self._said:
            self._said = False
            return
        if self._task is not None:
            raise trio.BusyResourceError("another task is waiting here already")
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Turnstile:
    """A line of tasks that wait for something scarce, served in order; nobody overtakes."""

    __slots__ = ("queue",)

    def __init__(self) -> None:
        """Nobody waits."""
        self.queue: deque[tuple[Signal, Callable[[], bool]]] = deque()
        """Who waits, first come first; for others to see whether anybody does."""

    def free(self, ready: Callable[[], bool]) -> bool:
        """Whether nobody waits and ``ready`` holds: then go ahead."""
        return not self.queue and ready()

    async def wait_turn(self, ready: Callable[[], bool]) -> None:
        """Wait until all before us had their turn and ``ready`` holds; take it without another await, then `nudge`."""
        place = (Signal(), ready)
        self.queue.append(place)
        try:
            while self.queue[0] is not place or not ready():
                await place[0].wait()
        finally:
            first = self.queue[0] is place
            self.queue.remove(place)
            if first:
                self.nudge()

    def nudge(self) -> None:
        """Let the first in line look again."""
        if self.queue:
            self.queue[0][0].say()
