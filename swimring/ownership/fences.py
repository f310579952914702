"""Which fence an owner gets, and whether it has stood still since: what makes two owners tell each other apart."""

from __future__ import annotations

from typing import Final

from swimring.errors import LocalProtocolError
from swimring.identity import Fence

NO_FENCE: Final = Fence(0, "")
"""Less than every fence."""

MAX_FENCE: Final = 2**63 - 1
_CLOCK_SHIFT: Final = 20


def next_fence(seen: int, owner: str, *, wall_ms: int) -> Fence:
    """The fence of an owner that has seen fences up to number ``seen``.

    The wall clock leads, so that an owner who can ask nobody that knew (all copies are lost, or on the other side of a
    partition) gets a greater one than those before, as far as clocks agree.

    Raises:
        LocalProtocolError: there is none left below 2**63.
    """
    number = max(seen + 1, wall_ms << _CLOCK_SHIFT)
    if number > MAX_FENCE:
        raise LocalProtocolError(f"no fence after {seen} fits in 63 bits")
    return Fence(number, owner)


class Standing:
    """Whether this process has stood still for so long that others may have replaced it.

    Its event loop gives a sign of life by `beat` now and then, on a clock that runs while the machine sleeps. Every gap
    that is too long begins a new epoch, whoever notices it first; what was opened in an earlier one is void.
    """

    def __init__(self, *, patience: float, now: float) -> None:
        """Gaps up to ``patience`` seconds are nothing."""
        self._patience = patience
        self._last = now
        self._epoch = 0

    def epoch(self, now: float) -> int:
        """The epoch of ``now``; looking is no sign of life."""
        if now - self._last > self._patience:
            self._epoch += 1
            self._last = now
        return self._epoch

    def beat(self, now: float) -> int:
        """A sign of life; the epoch it falls into."""
        epoch = self.epoch(now)
        self._last = now
        return epoch
