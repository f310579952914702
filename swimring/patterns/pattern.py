"""What a pattern can say, and which of two says more.

A pattern is a mapping from names of fields to conditions (`conditions.py`), checked when it is made. A message matches
if every field of the pattern is in it and accepted, at every depth; further fields of the message do not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from swimring.errors import ConfigError

from . import notation
from .conditions import RANKS, Condition, Fields, Literal, Typed, conditions_in, fields_for

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FIELDS: Final = 32
"""Fields in one pattern, those of nested mappings included."""


class Pattern:
    """An immutable, checked pattern; equal patterns ask the same, in whatever order their fields were written."""

    __slots__ = ("_fields", "_identity", "specificity")

    def __init__(self, source: str | Mapping[str, object] | Pattern | Fields) -> None:
        """Read a pattern from its one-line notation (see `notation`), from a mapping or from another pattern.

        Raises:
            ConfigError: it says something that no message can be asked, or has more than `MAX_FIELDS` fields.
        """
        if isinstance(source, Pattern):
            fields = source._fields
        elif isinstance(source, Fields):
            fields = source
        elif isinstance(source, str):
            fields = fields_for(notation.read(source), path="")
        elif isinstance(source, Mapping):
            fields = fields_for(source, path="")
        else:
            raise ConfigError("pattern", source, 'a pattern is a mapping or text such as "ns:kv,cmd:put"')
        asked = conditions_in(fields)[1:]
        if len(asked) > MAX_FIELDS:
            raise ConfigError("pattern", f"{len(asked)} fields", f"a pattern has at most {MAX_FIELDS} fields")
        if any(not isinstance(name, str) for name, _ in fields.fields):
            raise ConfigError("pattern", str(fields), "the fields of a message have str names")
        self._fields: Final[Fields] = fields
        self._identity: Final[object] = _unordered(fields)
        self.specificity: Final[tuple[int, ...]] = (len(asked), *_census(asked))
        """Larger means more specific: first by the number of fields, then by how many of them are of each kind."""

    @property
    def fields(self) -> Iterator[tuple[str, Condition]]:
        """Name and condition of each top-level field."""
        return ((str(name), condition) for name, condition in self._fields.fields)

    @property
    def literals(self) -> dict[str, object]:
        """The top-level fields that ask for one value, with that value: the beginning of a message that matches."""
        return {name: condition.value for name, condition in self.fields if isinstance(condition, Literal)}

    def narrowed(self, **literals: object) -> Pattern:
        """A pattern that asks for these fields too.

        Raises:
            ConfigError: one of them is asked about already, or stands for no condition, or there are too many.
        """
        if twice := literals.keys() & dict(self.fields).keys():
            raise ConfigError("pattern", str(self), f"{', '.join(sorted(twice))} cannot be added: it is there")
        return Pattern(Fields((*Pattern(literals)._fields.fields, *self._fields.fields)))

    def matches(self, message: Mapping[str, object]) -> bool:
        """Whether every field of this pattern is in ``message`` and accepted."""
        return self._fields.accepts(message)

    def differences(self, message: Mapping[str, object]) -> tuple[str, ...]:
        """For each top-level field that ``message`` lacks or that is not accepted, what the pattern asks there.

        Says nothing of the values in the message, so that the text can be logged.
        """
        found = []
        for name, condition in self.fields:
            if name not in message:
                found.append(f"{name} is missing")
            elif not condition.accepts(message[name]):
                found.append(f"{name} is not {condition}")
        return tuple(found)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __str__(self) -> str:
        return str(self._fields)

    def __repr__(self) -> str:
        return f"Pattern({self})"


def _census(conditions: list[Condition]) -> list[int]:
    counts = [0] * (2 * len(RANKS))
    for condition in conditions:
        union = isinstance(condition, Typed) and len(condition.types) > 1
        counts[2 * RANKS.index(type(condition)) + union] += 1
    return counts


def _unordered(condition: Condition) -> object:
    if isinstance(condition, Fields):
        return frozenset((name, _unordered(inner)) for name, inner in condition.fields)
    return condition
