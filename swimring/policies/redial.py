"""When an address that did not answer is dialled again: a pause that doubles with each failure, and is jittered.

Without it, every call for a member that is gone would dial it once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

    from swimring.identity import Address

_MAX_FAILURES: Final = 30  # further doublings change nothing, and a float has an end


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """After a failed dial: do not try that address before this time."""

    address: Address
    failures: int
    until: float
    """Absolute, in seconds."""
    error: str
    """Why the last dial failed."""


class Redial:
    """The pauses after failed dials, by the name of whom they were for. Beyond ``most`` the oldest is forgotten."""

    def __init__(self, *, first: float, longest: float, most: int, rng: random.Random) -> None:
        """No pauses; the first has at most ``first`` seconds and none more than ``longest``."""
        self._first = first
        self._longest = longest
        self._most = most
        self._rng = rng
        self._pauses: dict[str, Pause] = {}

    def __len__(self) -> int:
        return len(self._pauses)

    def failed(self, name: str, address: Address, error: str, *, now: float) -> None:
        """A dial of ``name`` failed. At another address than before it is the first failure."""
        before = self._pauses.pop(name, None)
        failures = 0 if before is None or before.address != address else before.failures
        ceiling = min(self._longest, self._first * 2.0**failures)
        while len(self._pauses) >= self._most:
            del self._pauses[next(iter(self._pauses))]
        self._pauses[name] = Pause(
            address=address,
            failures=min(failures + 1, _MAX_FAILURES),
            until=now + ceiling * self._rng.uniform(0.5, 1.0),
            error=error,
        )

    def reached(self, name: str) -> None:
        """``name`` is connected: the next failure is the first again."""
        self._pauses.pop(name, None)

    def pause(self, name: str, address: Address, *, now: float) -> Pause | None:
        """The pause in which ``name`` should not be dialled at ``address``, if there is one now."""
        pause = self._pauses.get(name)
        return pause if pause is not None and pause.address == address and pause.until > now else None

    def seconds_left(self, name: str, *, now: float) -> float | None:
        """How long the pause of ``name`` still takes; None if there is none."""
        pause = self._pauses.get(name)
        return None if pause is None or pause.until <= now else pause.until - now
