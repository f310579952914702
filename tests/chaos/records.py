"""The calls of a load: when they are made, a record and an entry in a book for each, and what they add up to.

Nothing but the standard library is imported: whoever is measured beside us keeps the same books.
"""

# ruff: noqa: TID251 - latencies are compared with moments of another process

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

MOST_UNDER_WAY = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of one call."""

    key: str
    due: float
    """When it had to be made, on the clock of this machine."""
    latency: float
    """Seconds from then until it ended."""
    overrun: float
    """Seconds by which it outlived its deadline."""
    error: str
    """Nothing if it was answered."""
    idempotent: bool


def record_of(key: str, due: float, began: float, error: str, patience: float, *, idempotent: bool) -> Record:
    """A call that has just ended."""
    now = time.monotonic()
    return Record(
        key=key,
        due=due,
        latency=now - due,
        overrun=max(0.0, now - began - patience),
        error=error,
        idempotent=idempotent,
    )


class Book:
    """What the answers so far say about each key."""

    def __init__(self) -> None:
        self.began: Counter[str] = Counter()
        self.acknowledged: Counter[str] = Counter()
        self.maybe: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.wrong: list[str] = []

    def check(self, key: str, value: int, least: int) -> None:
        """An answer has to count what was acknowledged before it was asked for, and nothing that was never begun."""
        most = self.began[key] - self.refused[key]
        if not least <= value <= most:
            self.wrong.append(f"{key}: {value}, not {least} to {most}")

    def fail(self, key: str, error: str) -> None:
        """Something was not counted, or nobody knows."""
        (self.refused if error.endswith("refused") else self.maybe)[key] += 1

    def counted(self, most: int) -> list[str]:
        """Every key that was counted, those first that were counted most."""
        return sorted(self.began, key=lambda key: (-self.began[key], key))[:most]

    def complaint(self, key: str, value: int, *, exact: bool) -> str | None:
        """What is wrong with the last value of a key."""
        least = self.acknowledged[key]
        limit = least if exact else least + self.maybe[key]
        return None if least <= value <= limit else f"{key}: {value}, not {least} to {limit}"


def arrivals(rng: random.Random, keys: int, rate: float, reads: float) -> Iterator[tuple[float, str, bool]]:
    """Without end: the seconds after the call before, the key, and whether it only reads, as ``reads`` of them do."""
    while True:
        wait = rng.expovariate(rate)  # arrivals that know nothing of each other, and of how late we are
        yield wait, f"k{rng.randrange(keys)}", rng.random() < reads


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Counts, and latencies in seconds of what was answered."""
    answered = sorted(record.latency for record in records if not record.error)
    slowest = sorted(records, key=lambda record: -record.latency)[:5]
    return {
        "calls": len(records),
        "answered": len(answered),
        "failed": dict(Counter(record.error for record in records if record.error and not record.idempotent)),
        "failed_idempotent": dict(Counter(record.error for record in records if record.error and record.idempotent)),
        "p50": _share(answered, 0.5),
        "p99": _share(answered, 0.99),
        "worst": answered[-1] if answered else None,
        "overrun": max((record.overrun for record in records), default=0.0),
        "slowest": [
            {"key": one.key, "due": one.due, "latency": one.latency, "error": one.error, "idempotent": one.idempotent}
            for one in slowest
        ],
    }


def _share(ascending: Sequence[float], share: float) -> float | None:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else None
