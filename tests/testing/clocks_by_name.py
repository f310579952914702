"""A user's module that has imported a clock by name, and one that asks it as it is imported."""

from __future__ import annotations

from time import monotonic  # noqa: TID251 - what is refused

IMPORTED_AT = monotonic()


def now() -> float:
    return monotonic()
