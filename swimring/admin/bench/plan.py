"""What is to be asked, of which keys, how often and for how long. Pure."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from swimring.errors import ConfigError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

MOST_KEYS: Final = 1_000_000
MOST_AT_ONCE: Final = 10_000
DISTRIBUTIONS: Final = ("uniform", "zipf", "turn")
"""All keys alike; the n-th 1/n times as often as the first; one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One load.

    Attributes:
        service: whose handler is asked.
        cmd: the handler.
        fields: its arguments.
        keys: how many keys it is asked for; with 0 it is asked without a key, wherever that may be.
        distribution: which of them how often, one of `DISTRIBUTIONS`.
        concurrency: calls at once, at most.
        rate: calls a second that are due; None for as many as are answered.
        seconds: how long it lasts, after the warm-up.
        calls: after how many calls it ends, if not before.
        warm_up: seconds before that, which are not counted.
        within: seconds that an answer may take.
        idempotent: whether a call is repeated if its answer is lost.
    """

    service: str
    cmd: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    keys: int = 1_000
    distribution: str = "uniform"
    concurrency: int = 16
    rate: float | None = None
    seconds: float = 10.0
    calls: int | None = None
    warm_up: float = 1.0
    within: float = 10.0
    idempotent: bool = False

    def check(self) -> Plan:
        """The plan itself.

        Raises:
            ConfigError: a number is out of range.
        """
        for name, value, low, high in (
            ("concurrency", self.concurrency, 1, MOST_AT_ONCE),
            ("keys", self.keys, 0, MOST_KEYS),
            ("calls", 1 if self.calls is None else self.calls, 1, None),
        ):
            if value < low or (high is not None and value > high):
                raise ConfigError(name, value, f"at least {low}" if high is None else f"from {low} to {high}")
        if self.rate is not None and not self.rate > 0:
            raise ConfigError("rate", self.rate, "a number of calls a second above 0")
        if self.distribution not in DISTRIBUTIONS:
            raise ConfigError("distribution", self.distribution, f"use one of: {', '.join(DISTRIBUTIONS)}")
        return self

    def chooser(self, rng: random.Random) -> Callable[[], str | None]:
        """What says of each call for which key it is."""
        count = self.keys
        if count == 0:
            return lambda: None
        if self.distribution == "zipf":
            below = list(accumulate(1 / place for place in range(1, count + 1)))
            return lambda: f"key-{bisect(below, rng.random() * below[-1])}"
        if self.distribution == "uniform":
            return lambda: f"key-{rng.randrange(count)}"
        numbers = iter(range(2**63))
        return lambda: f"key-{next(numbers) % count}"
