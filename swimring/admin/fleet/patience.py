"""How long to wait before a process that ended is started again. Pure: `now` is an argument."""

from __future__ import annotations

from typing import Final

FIRST: Final = 0.5
LONGEST: Final = 30.0
HEALTHY: Final = 30.0
"""Seconds of running after which an end counts as the first one again."""


class Patience:
    """The pauses of one process: 0.5 s, doubled each time up to 30 s, short again once it has run for 30 s."""

    def __init__(self) -> None:
        """It has not been started."""
        self._pause = FIRST
        self._began = 0.0

    def started(self, *, now: float) -> None:
        """It runs."""
        self._began = now

    def ended(self, *, now: float) -> float:
        """It has ended: the seconds to wait."""
        if now - self._began >= HEALTHY:
            self._pause = FIRST
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST)
        return pause
