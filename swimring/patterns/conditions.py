"""What a pattern can ask of one value, most specific kind first: see `RANKS`.

A condition never raises, whatever the value is: values come from strangers.
"""

from __future__ import annotations

import enum
import logging
import math
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, Union, get_args, get_origin

from swimring.errors import ConfigError

_log = logging.getLogger("swimring.patterns")

MAX_DEPTH: Final = 16
"""How deep patterns nest; messages may nest deeper."""

Scalar: TypeAlias = str | bytes | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Literal:
    """Equal and of the same type: 1 is neither True nor 1.0 nor "1"."""

    value: Scalar
    type: type

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is this one."""
        return type(value) is self.type and value == self.value

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True)
class Matching:
    """Text (or bytes, for a bytes expression) in which the regular expression is found, as by ``re.search``."""

    expression: re.Pattern[str] | re.Pattern[bytes]

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is of the expression's kind and contains a match."""
        if not isinstance(value, type(self.expression.pattern)):
            return False
        return self.expression.search(value) is not None  # type: ignore[arg-type]  # same kind, as just checked

    def __str__(self) -> str:
        return f"/{self.expression.pattern!s}/"


@dataclass(frozen=True, slots=True)
class Satisfying:
    """A predicate says yes. One that raises says no."""

    predicate: Callable[[object], object]

    def accepts(self, value: object) -> bool:
        """Whether the predicate returns something true for ``value``."""
        try:
            return bool(self.predicate(value))
        except Exception:  # noqa: BLE001 - written for the values it expects, asked about those of strangers
            _log.debug("predicate %s raised and counts as no", self, exc_info=True)
            return False

    def __str__(self) -> str:
        return f"<{getattr(self.predicate, '__qualname__', None) or repr(self.predicate)}>"


@dataclass(frozen=True, slots=True)
class Fields:
    """A mapping that has these fields; it may have others."""

    fields: tuple[tuple[str | bytes, Condition], ...]

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a mapping and each field is there and accepted."""
        if type(value) is not dict and not isinstance(value, Mapping):
            return False
        for name, condition in self.fields:  # noqa: SIM110 (a generator would cost more than the comparisons)
            if name not in value or not condition.accepts(value[name]):
                return False
        return True

    def __str__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {condition}" for name, condition in self.fields) + "}"


@dataclass(frozen=True, slots=True)
class Typed:
    """An instance of one of these types; True and False are not an int."""

    types: tuple[type, ...]

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is an instance."""
        # bool is a subclass of int by an accident of history; on the wire they are two types.
        return any(isinstance(value, one) and not (one is int and type(value) is bool) for one in self.types)

    def __str__(self) -> str:
        return " | ".join(one.__name__ for one in self.types)


@dataclass(frozen=True, slots=True)
class Present:
    """Anything, null included, as long as the field is there."""

    def accepts(self, value: object) -> bool:  # noqa: ARG002 - every condition is asked about a value
        """Yes."""
        return True

    def __str__(self) -> str:
        return "..."


Condition: TypeAlias = Literal | Matching | Satisfying | Fields | Typed | Present

RANKS: Final[tuple[type, ...]] = (Literal, Matching, Satisfying, Fields, Typed, Present)
"""Kinds of conditions, the most specific first. A union is one rank less specific than a single type."""


def condition_for(value: object, *, path: str, depth: int = 0) -> Condition:
    """The condition that a user's ``value`` at ``path`` of a pattern stands for.

    Raises:
        ConfigError: it stands for none, or a part of it does not.
    """
    if value is ...:
        return Present()
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, (str, bytes, int, float)):
        return _literal(value, path)
    if isinstance(value, re.Pattern):
        return Matching(value)
    if isinstance(value, Mapping):
        return fields_for(value, path=path, depth=depth + 1)
    if isinstance(value, type) or get_origin(value) is not None:
        return _typed(value, path)
    if callable(value):
        return Satisfying(value)
    raise ConfigError(
        f"pattern {path}",
        value,
        "a field is a literal (str, bytes, int, float, bool, None), a type, a compiled regular expression, "
        "a mapping, a predicate or ...",
    )


def fields_for(mapping: Mapping[Any, object], *, path: str, depth: int = 0) -> Fields:
    """The condition for a mapping; its fields in the order given.

    Raises:
        ConfigError: a name is neither text nor bytes, a value stands for no condition, or the nesting is too deep.
    """
    if depth > MAX_DEPTH:
        raise ConfigError(f"pattern {path}", "a deeper nesting", f"patterns nest {MAX_DEPTH} deep")
    fields: list[tuple[str | bytes, Condition]] = []
    for name, value in mapping.items():
        if not isinstance(name, (str, bytes)):
            raise ConfigError(f"pattern {path}".rstrip(), name, "names of fields are str or bytes")
        where = f"{path}.{name!s}" if path else str(name)
        fields.append((name, condition_for(value, path=where, depth=depth)))
    return Fields(tuple(fields))


def conditions_in(condition: Condition) -> list[Condition]:
    """``condition`` and all conditions nested in it."""
    found = [condition]
    if isinstance(condition, Fields):
        for _, inner in condition.fields:
            found += conditions_in(inner)
    return found


def _literal(value: Scalar, path: str) -> Literal:
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"pattern {path}", value, "not-a-number equals nothing; use a predicate")
    # What is of a subclass of these here arrives from the wire as the plain type.
    match value:
        case bool() | None:
            return Literal(value, type(value))
        case str():
            return Literal(str(value), str)
        case bytes():
            return Literal(bytes(value), bytes)
        case int():
            return Literal(int(value), int)
        case _:
            return Literal(float(value), float)


def _typed(value: object, path: str) -> Typed | Present:
    members = get_args(value) if get_origin(value) in (Union, types.UnionType) else (value,)
    for member in members:
        if not isinstance(member, type) or get_origin(member) is not None:
            raise ConfigError(f"pattern {path}", value, "a type in a pattern is a plain class or a union of them")
        try:
            isinstance(None, member)
        except TypeError:
            raise ConfigError(f"pattern {path}", value, "isinstance() cannot be asked about this type") from None
    return Present() if object in members else Typed(tuple(members))
