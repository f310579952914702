"""Virtual time: it stands still while any task can run, and jumps to the next deadline, or alarm, when none can.

As `trio.testing.MockClock` with an autojump threshold of zero, for about half of what that costs: the event loop asks
its clock how long to sleep exactly when no task can run, and that is where this one jumps. What only delivers packets
needs no task and no turn for it: it has an alarm, which is a function.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio
from trio._core import _run as scheduler

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_FOR_EVER: Final = 999_999_999.0


class Alarm:
    """A function that is called, again and again, when its time has come."""

    __slots__ = ("due", "ring")

    def __init__(self, ring: Callable[[], None]) -> None:
        """Not set. ``ring`` is called between two turns of the event loop, in no task, and must raise nothing."""
        self.due = math.inf
        """When it rings; set it again when it has."""
        self.ring = ring


class VirtualClock(trio.abc.Clock):
    """A clock that starts at zero and shows only what somebody waits for."""

    def __init__(self) -> None:
        """It shows zero."""
        self._now = 0.0
        self._alarms: list[Alarm] = []

    def __repr__(self) -> str:
        return f"<VirtualClock, time={self._now:.7f}>"

    def alarm(self, ring: Callable[[], None]) -> Alarm:
        """One more alarm; there are never many."""
        alarm = Alarm(ring)
        self._alarms.append(alarm)
        return alarm

    def forget(self, alarm: Alarm) -> None:
        """It is not needed any more."""
        self._alarms.remove(alarm)

    def start_clock(self) -> None:
        """It goes by itself."""

    def current_time(self) -> float:
        """What it shows."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Show so many seconds more, from now on: all timers that were due meanwhile are late.

        Raises:
            ConfigError: time does not go back.
        """
        if seconds < 0:
            raise ConfigError("seconds", seconds, "time does not go back")
        self._now += seconds

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """No task can run: jump, unless somebody waits for just that (`trio.testing.wait_all_tasks_blocked`)."""
        due = deadline
        for alarm in self._alarms:
            due = min(due, alarm.due)
        if due > self._now:
            if due == math.inf or scheduler.GLOBAL_RUN_CONTEXT.runner.waiting_for_idle:
                return _FOR_EVER
            self._now = due
        for alarm in self._alarms:
            if alarm.due <= self._now:
                alarm.due = math.inf
                alarm.ring()
        return 0.0
