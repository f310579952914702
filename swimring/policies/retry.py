"""Whether a refused or lost call is tried again, where, and after how long.

Attempts come in rounds. Within a round a redirection is followed at once, no owner is asked twice at one version of
the ring, and at most `MAX_HOPS` owners are asked: two nodes that each name the other cannot keep a call going. Once a
round has nobody left to ask, the call backs off: a random wait below a ceiling that doubles from round to round ("full
jitter": Brooker, "Exponential Backoff And Jitter", 2015). Only then may an owner be asked again at the same version,
because the answers "not yet mine", "busy" and "no connection" change with time and not with the ring. A change of the
ring ends the wait early. There is no limit on rounds but the deadline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from swimring.errors import (
    CallError,
    CircuitOpen,
    ConnectionLost,
    Draining,
    NotOwner,
    Overloaded,
    StreamLost,
    Unreachable,
)

if TYPE_CHECKING:
    import random

    from swimring.identity import NodeId

MAX_HOPS: Final = 4
"""Owners asked in one round."""

_REFUSALS: Final = (Unreachable, NotOwner, Draining, Overloaded, CircuitOpen)


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this owner now; ``hop`` counts the owners asked before in this round."""

    hop: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the absolute time ``until``, or until the ring changes; then report with `Attempts.waited`."""

    until: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There is no time for another attempt: the last error is the outcome."""


Verdict: TypeAlias = Ask | Wait | GiveUp


def safe_to_retry(error: CallError, *, idempotent: bool = False) -> bool:
    """Whether another attempt after ``error`` cannot run the handler a second time, or may because it is idempotent.

    Only refusals and losses qualify. What the handler, the message or the deadline is to blame for fails again, and a
    byte stream cannot be sent a second time. A refusal that may have been executed is one that a handler met in a call
    of its own and let through: that call was tried again there, for as long as ours may take.
    """
    if isinstance(error, ConnectionLost):
        return (idempotent or not error.maybe_executed) and not isinstance(error, StreamLost)
    return isinstance(error, _REFUSALS) and not error.maybe_executed


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patient calls are; all times in seconds."""

    base: float = 0.02
    """Ceiling of the first back-off; it doubles with each round."""
    cap: float = 1.0
    """Ceiling of every back-off."""
    max_hops: int = MAX_HOPS
    """Owners asked in one round."""
    reserve: float = 0.02
    """Time before the deadline in which no attempt begins, so that the caller learns the reason instead."""

    def attempts(self, *, deadline: float, rng: random.Random) -> Attempts:
        """The attempts of one call that has to end at the absolute time ``deadline`` (``math.inf``: whenever)."""
        return Attempts(policy=self, deadline=deadline, rng=rng)

    def ceiling(self, rounds: int) -> float:
        """The longest back-off after ``rounds`` rounds that ended without an answer."""
        # The exponent is bounded because a float overflows at 2**1024.
        return min(self.cap, self.base * 2.0 ** min(rounds, 64))


class Attempts:
    """Whom one call has asked, and what it does next. Made by `RetryPolicy.attempts`."""

    __slots__ = (
        "_asked", "_deadline", "_final", "_hops", "_policy", "_rng", "_rounds", "count", "error", "maybe_executed",
    )  # fmt: skip

    def __init__(self, *, policy: RetryPolicy, deadline: float, rng: random.Random) -> None:
        """Start with nobody asked."""
        self.count = 0
        """Attempts made so far, over all rounds."""
        self.error: CallError | None = None
        """What the last attempt came to."""
        self.maybe_executed = False
        """Whether the handler may have run in one of them."""
        self._policy = policy
        self._deadline = deadline
        self._rng = rng
        self._asked: set[tuple[NodeId, str]] = set()
        self._hops = 0
        self._rounds = 0
        self._final = False

    def has_asked(self, owner: NodeId, version: str) -> bool:
        """Whether ``owner`` was asked in this round at ``version`` of the ring."""
        return (owner, version) in self._asked

    def consider(self, owner: NodeId | None, version: str, *, now: float) -> Verdict:
        """Decide about asking ``owner`` (None: the ring names nobody) at ``version`` of the ring.

        An `Ask` counts as an attempt: make it, and if it fails tell `failed`.
        """
        fresh = owner is not None and not self.has_asked(owner, version) and self._hops < self._policy.max_hops
        if owner is not None and fresh:
            self._asked.add((owner, version))
            self._hops += 1
            self.count += 1
            return Ask(self._hops - 1)
        return self._back_off(now)

    def failed(self, error: CallError) -> None:
        """The attempt came to ``error``, after which another one is safe."""
        self.error = error
        self.maybe_executed = self.maybe_executed or error.maybe_executed

    def waited(self, *, ring_changed: bool) -> None:
        """A `Wait` is over, early because the ring changed or at its time: a new round begins."""
        self._hops = 0
        self._rounds += 1
        if not ring_changed and not self._final:
            self._asked.clear()

    def _back_off(self, now: float) -> Verdict:
        delay = self._rng.uniform(0.0, self._policy.ceiling(self._rounds))
        if self.error is not None and self.error.retry_after is not None:
            delay += max(0.0, self.error.retry_after)
        last_call = self._deadline - self._policy.reserve
        if now >= last_call:
            return GiveUp()
        # Too late for another attempt on the same ring; a change of the ring can still save the call.
        self._final = now + delay >= last_call and not math.isinf(last_call)
        return Wait(min(now + delay, last_call))
