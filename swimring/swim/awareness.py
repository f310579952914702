"""How much to trust our own clock and network: local health (Lifeguard, LHA-Probe).

A node whose probes fail without the relays' reports, or that has to refute, is likely the slow one. It then probes
less often and waits longer, so that its slowness accuses nobody.
"""

from __future__ import annotations


class Awareness:
    """A score from 0 (good) to a limit; probe interval and ping timeout are multiplied by the score + 1."""

    def __init__(self, limit: int) -> None:
        """Start healthy; ``limit`` is the worst score."""
        self._limit = limit
        self._score = 0

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

    def __repr__(self) -> str:
        return f"<Awareness {self._score}/{self._limit}>"
