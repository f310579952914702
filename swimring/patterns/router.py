"""Which registered pattern wins: the most specific that matches, and of equals the one registered first.

Patterns are indexed by the literals of their ``ns`` and ``cmd``, so a lookup tries those that ask for exactly this
pair and those that leave one of the two open, however many others there are.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import insort
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from .conditions import Literal
from .pattern import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .conditions import Condition

H = TypeVar("H")

_Slot: TypeAlias = tuple[str | None, str | None]

_COMPARED_CHARACTERS: Final = 32
_COMPARED_PATTERNS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Match(Generic[H]):
    """A registered pattern and what was registered for it."""

    pattern: Pattern
    handler: H


@dataclass(frozen=True, slots=True)
class _Entry(Generic[H]):
    order: tuple[tuple[int, ...], int]
    """Sorts the more specific first, then the earlier registered."""
    match: Match[H]

    def __lt__(self, other: _Entry[H]) -> bool:
        return self.order < other.order


class Router(Generic[H]):
    """Patterns with something registered for each: a handler, usually."""

    def __init__(self) -> None:
        """Start with no pattern."""
        self._entries: list[_Entry[H]] = []
        self._slots: dict[_Slot, list[_Entry[H]]] = {}
        self._serial = itertools.count()

    def add(self, pattern: str | Mapping[str, object] | Pattern, handler: H) -> Pattern:
        """Register ``handler``; return the pattern as read. A pattern that is there already stays first.

        Raises:
            ConfigError: this is not a pattern.
        """
        read = Pattern(pattern)
        less = tuple(-rank for rank in read.specificity)
        entry = _Entry((less, next(self._serial)), Match(pattern=read, handler=handler))
        self._entries.append(entry)
        insort(self._slots.setdefault(_slot_of(read), []), entry)
        return read

    def remove(self, pattern: str | Mapping[str, object] | Pattern, handler: H | None = None) -> int:
        """Take out everything registered for exactly this pattern, or only ``handler``; return how many that were.

        Raises:
            ConfigError: this is not a pattern.
        """
        read = Pattern(pattern)

        def stays(entry: _Entry[H]) -> bool:
            return entry.match.pattern != read or (handler is not None and entry.match.handler != handler)

        before = len(self._entries)
        self._entries = [entry for entry in self._entries if stays(entry)]
        slot = _slot_of(read)
        if kept := [entry for entry in self._slots.get(slot, ()) if stays(entry)]:
            self._slots[slot] = kept
        else:
            self._slots.pop(slot, None)
        return before - len(self._entries)

    def lookup(self, message: Mapping[str, object]) -> Match[H] | None:
        """The match that wins, or None."""
        # The first of `matches`, without its generators: every call of a service comes by here.
        best: _Entry[H] | None = None
        for slot in _slots_for(message):
            for entry in self._slots.get(slot, ()):
                if best is not None and best.order < entry.order:
                    break
                if entry.match.pattern.matches(message):
                    best = entry
                    break
        return best.match if best is not None else None

    def matches(self, message: Mapping[str, object]) -> Iterator[Match[H]]:
        """Every match, the winner first."""
        for entry in heapq.merge(*self._candidates(message)):
            if entry.match.pattern.matches(message):
                yield entry.match

    def nearest(self, message: Mapping[str, object]) -> Pattern | None:
        """The pattern that ``message`` misses by least, to be named where nothing matches; None if there is none.

        Compared are at most 256 patterns and 32 characters of a text, because anybody may send a message that matches
        nothing.
        """
        compared = itertools.islice(self._entries, _COMPARED_PATTERNS)
        best = max(compared, key=lambda entry: _closeness(entry.match.pattern, message), default=None)
        return best.match.pattern if best else None

    def _candidates(self, message: Mapping[str, object]) -> Iterator[list[_Entry[H]]]:
        for slot in dict.fromkeys(_slots_for(message)):
            if entries := self._slots.get(slot):
                yield entries

    def __iter__(self) -> Iterator[Match[H]]:
        """Everything registered, in the order of registration."""
        return iter([entry.match for entry in self._entries])

    def __len__(self) -> int:
        return len(self._entries)


def _slot_of(pattern: Pattern) -> _Slot:
    literals = pattern.literals
    return _text(literals.get("ns")), _text(literals.get("cmd"))


def _slots_for(message: Mapping[str, object]) -> tuple[_Slot, ...]:
    ns, cmd = _text(message.get("ns")), _text(message.get("cmd"))
    return (ns, cmd), (ns, None), (None, cmd), (None, None)


def _text(value: object) -> str | None:
    # Only text is indexed: it is what ns and cmd are, and hashing it cannot confuse 1 with True.
    return value if type(value) is str else None


def _closeness(pattern: Pattern, message: Mapping[str, object]) -> float:
    return sum(_field_closeness(name, condition, message) for name, condition in pattern.fields)


def _field_closeness(name: str, condition: Condition, message: Mapping[str, object]) -> float:
    if name not in message:
        return -0.5
    value = message[name]
    if condition.accepts(value):
        return 1.0
    if isinstance(condition, Literal) and isinstance(condition.value, str) and isinstance(value, str):
        ours, theirs = condition.value[:_COMPARED_CHARACTERS], value[:_COMPARED_CHARACTERS]
        return SequenceMatcher(None, ours, theirs, autojunk=False).ratio() - 0.5
    return -0.5
