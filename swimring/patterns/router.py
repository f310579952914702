"""Which registered pattern wins: the most specific that matches, and of equals the one registered first.

Each pattern is indexed by one of its literals, the one that the fewest others ask for. So a lookup tries the patterns
that are filed under a field of the message, and those that ask for no literal at all, however many others there are.
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from .conditions import Literal
from .pattern import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .conditions import Condition

H = TypeVar("H")

_Value: TypeAlias = object
"""A literal as it is looked up: text as itself, another scalar with its type."""

_HASHED: Final = frozenset({str, bytes, int, float, bool, type(None)})
"""The types of literals. What else a message holds equals none, and need not have a hash."""
_RANK: Final = {"cmd": 0, "ns": 2}

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
    home: tuple[str, _Value] | None
    """The literal it is indexed by."""

    def __lt__(self, other: _Entry[H]) -> bool:
        return self.order < other.order


class Order(enum.StrEnum):
    """Which of several patterns that match comes first."""

    DEPTH = "depth"
    """The more specific one; of equals the one registered first."""
    INSERTION = "insertion"
    """The one registered first."""


class Router(Generic[H]):
    """Patterns with something registered for each: a handler, usually."""

    def __init__(self, order: Order = Order.DEPTH) -> None:
        """Start with no pattern."""
        self._order = order
        self._serial = itertools.count()
        self._entries: list[_Entry[H]] = []
        # Each entry is in one of these lists. They are replaced, never changed, so that whoever walks one can go on.
        self._indexed: dict[str, dict[_Value, list[_Entry[H]]]] = {}
        self._rest: list[_Entry[H]] = []
        self._asked: Counter[tuple[str, _Value]] = Counter()

    def add(self, pattern: str | Mapping[str, object] | Pattern, handler: H) -> Pattern:
        """Register ``handler``; return the pattern as read. A pattern that is there already stays first.

        Raises:
            ConfigError: this is not a pattern.
        """
        read = Pattern(pattern)
        less = tuple(-rank for rank in read.specificity) if self._order is Order.DEPTH else ()
        literals = {name: _value(value) for name, value in read.literals.items()}
        # The rarest literal leaves the fewest patterns to try; of equally rare ones the command is most telling.
        home = min(literals.items(), key=lambda one: (self._asked[one], _RANK.get(one[0], 1)), default=None)
        entry = _Entry((less, next(self._serial)), Match(pattern=read, handler=handler), home)
        self._asked.update(literals.items())
        self._entries = [*self._entries, entry]
        self._keep(home, sorted([*self._beside(home), entry]))
        return read

    def remove(self, pattern: str | Mapping[str, object] | Pattern, handler: H | None = None) -> int:
        """Take out everything registered for exactly this pattern, or only ``handler``; return how many that were.

        Raises:
            ConfigError: this is not a pattern.
        """
        read = Pattern(pattern)

        def goes(entry: _Entry[H]) -> bool:
            return entry.match.pattern == read and (handler is None or entry.match.handler == handler)

        gone = [entry for entry in self._entries if goes(entry)]
        self._entries = [entry for entry in self._entries if entry not in gone]
        for entry in gone:
            self._asked.subtract((name, _value(value)) for name, value in read.literals.items())
            self._keep(entry.home, [one for one in self._beside(entry.home) if one is not entry])
        self._asked = +self._asked
        return len(gone)

    def lookup(self, message: Mapping[str, object]) -> Match[H] | None:
        """The match that wins, or None."""
        # The first of `matches`, without its generators: every call of a service comes by here.
        best: _Entry[H] | None = None
        for entries in self._candidates(message):
            for entry in entries:
                if best is not None and best.order < entry.order:
                    break
                if entry.match.pattern.matches(message):
                    best = entry
                    break
        return best.match if best is not None else None

    def matches(self, message: Mapping[str, object]) -> Iterator[Match[H]]:
        """Every match, the winner first, each found when it is asked for; of what is registered now."""
        candidates = self._candidates(message)
        return (entry.match for entry in heapq.merge(*candidates) if entry.match.pattern.matches(message))

    def nearest(self, message: Mapping[str, object]) -> Pattern | None:
        """The pattern that ``message`` misses by least, to be named where nothing matches; None if there is none.

        Compared are at most 256 patterns and 32 characters of a text, because anybody may send a message that matches
        nothing.
        """
        compared = itertools.islice(self._entries, _COMPARED_PATTERNS)
        best = max(compared, key=lambda entry: _closeness(entry.match.pattern, message), default=None)
        return best.match.pattern if best else None

    def _candidates(self, message: Mapping[str, object]) -> list[list[_Entry[H]]]:
        """The lists in which patterns that may match are, each in order."""
        found = []
        indexed = self._indexed
        for name in indexed if len(indexed) <= len(message) else message:
            values = indexed.get(name)
            if values is None or name not in message:
                continue
            value = message[name]
            kind = type(value)
            entries = values.get(value if kind is str else (kind, value)) if kind in _HASHED else None
            if entries is not None:
                found.append(entries)
        if self._rest:
            found.append(self._rest)
        return found

    def _beside(self, home: tuple[str, _Value] | None) -> list[_Entry[H]]:
        return self._rest if home is None else self._indexed.get(home[0], {}).get(home[1], [])

    def _keep(self, home: tuple[str, _Value] | None, entries: list[_Entry[H]]) -> None:
        if home is None:
            self._rest = entries
            return
        name, value = home
        values = self._indexed.setdefault(name, {})
        if entries:
            values[value] = entries
        else:
            del values[value]
        if not values:
            del self._indexed[name]

    def __iter__(self) -> Iterator[Match[H]]:
        """Everything registered now, in the order of registration."""
        return (entry.match for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _value(value: object) -> _Value:
    # With its type, because 1, True and 1.0 are equal, and not the same literal.
    return value if type(value) is str else (type(value), value)


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
