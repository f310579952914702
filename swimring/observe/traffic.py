"""What each handler did in the last minute: how often, how fast, how it ended; and which keys it was called for.

A minute is twelve slots of five seconds; a slot counts durations in buckets whose bounds grow by a factor of 2^(1/4),
so that a percentile is off by at most a tenth. Everything is bounded: handlers beyond `MAX_HANDLERS` count as one,
keys beyond `MAX_KEYS` in a slot and keys of more than `LONGEST_KEY` characters are counted and not named.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.builtin import NAMESPACE
from swimring.instrument import Instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from swimring.identity import Key

SLOT: Final = 5.0
"""Seconds of one slot."""
SLOTS: Final = 12
"""Slots that are kept: a minute."""
MAX_HANDLERS: Final = 200
"""Pairs of service and command that are told apart; the rest, and what no handler answers, counts as `OTHER`."""
MAX_KEYS: Final = 1_024
"""Keys that are told apart in one slot."""
LONGEST_KEY: Final = 128
"""Characters of a key that is remembered."""
OTHER: Final = "other"

_ELSEWHERE: Final = frozenset({"relayed", "NotOwner", "Draining"})
"""Outcomes of calls that another node handles."""
_STEPS: Final = 4
"""Buckets for each doubling."""
_LOWEST: Final = -20
_HIGHEST: Final = 12
"""Powers of two, in seconds, between which durations are told apart: a microsecond, and more than an hour."""
_CURRENT_SLOTS: Final = 2
"""Slots, besides the one that is being filled, over which the present rate is counted."""


def bucket_of(seconds: float) -> int:
    """The number of the bucket of a duration."""
    if seconds <= 0.0:
        return _LOWEST * _STEPS
    found = math.floor(math.log2(seconds) * _STEPS)
    return min(max(found, _LOWEST * _STEPS), _HIGHEST * _STEPS)


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """The seconds that ``share`` (0 to 1) of all counted durations do not exceed; None if there are none."""
    wanted = share * sum(buckets.values())
    seen = 0
    for number in sorted(buckets):
        seen += buckets[number]
        if seen >= wanted and seen:
            return float(2.0 ** ((number + 0.5) / _STEPS))
    return None


@dataclass(slots=True)
class _Slot:
    """What a handler did in one slot."""

    number: int
    ended: int = 0
    failed: int = 0
    cancelled: int = 0
    calls: int = 0
    retried: int = 0
    given_up: int = 0
    buckets: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerTraffic:
    """What one handler of one node did in the last minute.

    Attributes:
        ns: its service.
        cmd: its command.
        rate: handled calls a second, in the last ten seconds or a little more.
        handled: calls that ended here; failed and cancelled ones included.
        failed: those that raised.
        cancelled: those whose caller gave up or whose deadline passed.
        calls: calls to it that were made here, and are over.
        retried: attempts of such calls beyond the first.
        given_up: such calls that were cancelled here.
        history: handled calls in each slot of five seconds, the oldest first.
        buckets: how long the handled ones took: the number of each bucket to the calls in it; see `percentile`.
    """

    ns: str
    cmd: str
    rate: float
    handled: int
    failed: int
    cancelled: int
    calls: int
    retried: int
    given_up: int
    history: tuple[int, ...]
    buckets: Mapping[int, int]


class Traffic(Instrument):
    """Give it to ``open_node(instruments=[traffic])``. Calls of the namespace ``swimring`` are not counted."""

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        """Nothing has happened; ``now`` are seconds of a clock that only goes forward."""
        self._now = now
        self._handlers: dict[tuple[str, str], list[_Slot]] = {}
        self._keys: list[tuple[int, Counter[tuple[str, Key]]]] = []
        self._began: float | None = None

    def handlers(self) -> list[HandlerTraffic]:
        """The last minute of each handler that did anything in it, the busiest first."""
        number = self._number()
        told = [self._tell(named, slots, number) for named, slots in self._handlers.items()]
        return sorted(
            (one for one in told if one.handled or one.calls), key=lambda one: (-one.handled, one.ns, one.cmd)
        )

    def keys(self, service: str) -> dict[Key, float]:
        """Handled calls a second in the last minute, for each key of ``service`` that is remembered."""
        oldest, total = self._number() - SLOTS, Counter[Any]()
        for number, counted in self._keys:
            if number > oldest:
                total.update({key: count for (ns, key), count in counted.items() if ns == service})
        span = self._span(SLOTS)
        return {key: count / span for key, count in total.items()}

    # --------------------------------------------------------------------------------------------- what happens

    def handler_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """One more call handled here."""
        if ns == NAMESPACE or outcome in _ELSEWHERE:
            return
        slot = self._slot(*(OTHER, OTHER) if outcome == "NoSuchHandler" else (ns, cmd))
        slot.ended += 1
        slot.buckets[bucket_of(seconds)] += 1
        if outcome in {"cancelled", "DeadlineExceeded"}:
            slot.cancelled += 1
        elif outcome != "ok":
            slot.failed += 1
        if key is not None and len(key) <= LONGEST_KEY:
            self._count_key(slot.number, (ns, key))

    def call_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """One more call made here."""
        if ns != NAMESPACE:
            slot = self._slot(ns, cmd)
            slot.calls += 1
            slot.given_up += outcome == "cancelled"

    def call_retried(self, ns: str, cmd: str, key: Key | None, reason: str) -> None:
        """One more attempt."""
        if ns != NAMESPACE:
            self._slot(ns, cmd).retried += 1

    # ---------------------------------------------------------------------------------------------------- inside

    def _number(self) -> int:
        now = self._now()
        if self._began is None:
            self._began = now
        return int(now // SLOT)

    def _slot(self, ns: str, cmd: str) -> _Slot:
        number, named = self._number(), (ns, cmd)
        slots = self._handlers.get(named)
        if slots is None:
            named = self._name(named, number)
            slots = self._handlers.setdefault(named, [])
        if not slots or slots[-1].number != number:
            slots.append(_Slot(number))
            del slots[: -(SLOTS + 1)]
        return slots[-1]

    def _name(self, named: tuple[str, str], number: int) -> tuple[str, str]:
        if len(self._handlers) >= MAX_HANDLERS:
            self._handlers = {
                known: slots for known, slots in self._handlers.items() if slots[-1].number > number - SLOTS
            }
        return named if len(self._handlers) < MAX_HANDLERS else (OTHER, OTHER)

    def _count_key(self, number: int, placed: tuple[str, Key]) -> None:
        if not self._keys or self._keys[-1][0] != number:
            self._keys.append((number, Counter()))
            del self._keys[:-(SLOTS)]
        counted = self._keys[-1][1]
        if placed in counted or len(counted) < MAX_KEYS:
            counted[placed] += 1

    def _span(self, slots: int) -> float:
        """Seconds that the last ``slots`` slots and the one being filled have lasted, none before the beginning."""
        now = self._now()
        began = now if self._began is None else self._began
        return max(min(now % SLOT + slots * SLOT, now - began), 1.0)

    def _tell(self, named: tuple[str, str], slots: list[_Slot], number: int) -> HandlerTraffic:
        recent = [slot for slot in slots if slot.number > number - SLOTS]
        now = sum(slot.ended for slot in recent if slot.number >= number - _CURRENT_SLOTS)
        buckets = Counter[int]()
        for slot in recent:
            buckets.update(slot.buckets)
        return HandlerTraffic(
            ns=named[0],
            cmd=named[1],
            rate=now / self._span(_CURRENT_SLOTS),
            handled=sum(slot.ended for slot in recent),
            failed=sum(slot.failed for slot in recent),
            cancelled=sum(slot.cancelled for slot in recent),
            calls=sum(slot.calls for slot in recent),
            retried=sum(slot.retried for slot in recent),
            given_up=sum(slot.given_up for slot in recent),
            history=tuple(_history(recent, number)),
            buckets=dict(buckets),
        )


def _history(slots: Iterable[_Slot], number: int) -> Iterator[int]:
    ended = {slot.number: slot.ended for slot in slots}
    for each in range(number - SLOTS + 1, number + 1):
        yield ended.get(each, 0)
