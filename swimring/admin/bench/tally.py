"""What became of many calls: how many, how they failed, and how long they took. Pure, and of bounded size.

Durations are counted in buckets whose bounds grow by 1 %, so that a percentile is off by at most half of that.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

_STEP: Final = math.log(1.01)
_SHORTEST: Final = 1e-7
MOST_KINDS: Final = 100
"""Kinds of errors that are told apart; the rest is `OTHER`."""
OTHER: Final = "other"
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Tally:
    """Counts calls as they end."""

    def __init__(self) -> None:
        """None has."""
        self.good = 0
        """Calls that were answered as they should be."""
        self.errors: Counter[str] = Counter()
        """The others, by kind."""
        self._buckets: Counter[int] = Counter()
        self._sum = 0.0
        self._shortest, self._longest = math.inf, 0.0

    @property
    def failed(self) -> int:
        """Calls that were not answered as they should be."""
        return self.errors.total()

    @property
    def calls(self) -> int:
        """All of them."""
        return self.good + self.failed

    def note(self, seconds: float, error: str | None = None) -> None:
        """One more call has ended, well or with an ``error`` of that kind; only the time of the former counts."""
        if error is not None:
            kind = error if error in self.errors or len(self.errors) < MOST_KINDS else OTHER
            self.errors[kind] += 1
            return
        self.good += 1
        self._sum += seconds
        self._shortest, self._longest = min(self._shortest, seconds), max(self._longest, seconds)
        self._buckets[math.floor(math.log(max(seconds, _SHORTEST)) / _STEP)] += 1

    def add(self, other: Tally) -> None:
        """Those of another, too."""
        self.good += other.good
        self.errors.update(other.errors)
        self._buckets.update(other._buckets)
        self._sum += other._sum
        self._shortest = min(self._shortest, other._shortest)
        self._longest = max(self._longest, other._longest)

    def latency(self, share: float) -> float | None:
        """The seconds that ``share`` of the good calls did not exceed; None if there are none."""
        if not self.good:
            return None
        wanted, seen = share * self.good, 0
        for number in sorted(self._buckets):
            seen += self._buckets[number]
            if seen >= wanted:
                break
        middle = math.exp((number + 0.5) * _STEP)
        return min(max(middle, self._shortest), self._longest)

    def latencies(self) -> dict[str, float | None]:
        """The usual figures, in seconds."""
        if not self.good:
            return dict.fromkeys(("min", "mean", *SHARES, "max"))
        percentiles = {name: self.latency(share) for name, share in SHARES.items()}
        return {"min": self._shortest, "mean": self._sum / self.good, **percentiles, "max": self._longest}
