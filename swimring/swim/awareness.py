"""How much to trust our own clock and network: local health (Lifeguard, LHA-Probe).

A node whose probes fail without the relays' reports, or that has to refute, is likely the slow one. It then probes
less often and waits longer, so that its slowness accuses nobody.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_REMEMBERED_LAGS: Final = 10


class Awareness:
    """A score from 0 (good) to a limit; probe interval and ping timeout are multiplied by the score + 1."""

    def __init__(self, limit: int) -> None:
        """Start healthy; ``limit`` is the worst score."""
        self._limit = limit
        self._score = 0
        self._lags: deque[float] = deque(maxlen=_REMEMBERED_LAGS)

    @property
    def score(self) -> int:
        """0 is healthy."""
        return self._score

    @property
    def factor(self) -> int:
        """What intervals and timeouts are multiplied by, at least 1."""
        return self._score + 1

    def adjust(self, delta: int) -> None:
        """Add ``delta`` (-1 for a probe that was answered, positive for signs of trouble) within the limits."""
        self._score = min(self._limit, max(0, self._score + delta))

    @property
    def lag(self) -> float:
        """Seconds by which our own timers were late, the worst of the last 10 probe rounds."""
        return max(self._lags, default=0.0)

    def note_lag(self, seconds: float) -> None:
        """A timer fired ``seconds`` late."""
        self._lags.append(max(0.0, seconds))

    def note_late(self, seconds: float) -> None:
        """A timer fired ``seconds`` late in the present round; the worst of a round counts."""
        if self._lags:
            self._lags[-1] = max(self._lags[-1], seconds)
        else:
            self.note_lag(seconds)

    def __repr__(self) -> str:
        return f"<Awareness {self._score}/{self._limit}>"
