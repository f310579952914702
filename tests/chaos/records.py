"""One record for each call of a load, and what they add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


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
