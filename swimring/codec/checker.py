"""What every compiled annotation offers: values in from the wire, values out to it, and a refusal that says where.

Loading judges what a stranger sent, dumping judges what our own user passed; both raise `ShapeError`. Each function of
a `Checker` is a closure compiled once, when a handler is registered, and does no looking up of types afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from swimring.errors import SwimringError

Convert: TypeAlias = Callable[[Any], Any]
Compile: TypeAlias = Callable[[object, str], "Checker"]

_SHOWN: Final = 40


class ShapeError(SwimringError, ValueError):
    """A value does not fit its annotation. Whoever supplied the value caused it; nothing has been run with it.

    Attributes:
        path: the field names and indexes that lead to the value, outermost first.
        found: the type of the value, and the beginning of the value where it is short.
        allowed: what would have fitted.
    """

    def __init__(self, found: str, allowed: str, path: tuple[str | int, ...] = ()) -> None:
        """Say that ``found`` is where only ``allowed`` fits."""
        super().__init__(found, allowed, path)
        self.found = found
        self.allowed = allowed
        self.path = path

    def put_under(self, step: str | int) -> None:
        """Prefix the path, on the way out of the container whose field or index is ``step``."""
        self.path = (step, *self.path)

    @property
    def where(self) -> str:
        """The path as one would write it: ``order.lines[2].price``."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return text.removeprefix(".")

    def __str__(self) -> str:
        text = f"found {self.found}, allowed is {self.allowed}"
        return f"{self.where}: {text}" if self.path else text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checker:
    """One annotation, compiled."""

    allowed: str
    """The annotation as an error calls it."""
    load: Convert
    """From a wire value to the Python value; raises ShapeError."""
    dump: Convert
    """From a Python value to the wire value; raises ShapeError."""
    kinds: frozenset[type[object]]
    """The exact types of the wire values it may take: what tells the alternatives of a union apart."""
    transparent: bool = False
    """Whether whatever it takes is loaded as itself, so that no other alternative could load it differently."""


ANYTHING: Final[frozenset[type[object]]] = frozenset({object})
"""The kinds of a checker that may take every wire value."""

ARRAY: Final[frozenset[type[object]]] = frozenset({list, tuple})
"""Wire arrays are lists; in a message that stays on its node they may still be tuples."""

MAP: Final[frozenset[type[object]]] = frozenset({dict})


def mismatch(value: object, allowed: str) -> ShapeError:
    """The error that says what ``value`` is, without showing more of it than a glance."""
    return ShapeError(show(value), allowed)


def show(value: object) -> str:
    """The type of ``value``, and of a short scalar the value too."""
    kind = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return f"{kind} of {len(value)}"
    if not isinstance(value, (bool, int, float, str, bytes)) or (isinstance(value, int) and value.bit_length() > 128):
        return kind
    text = repr(value[:_SHOWN] if isinstance(value, (str, bytes)) else value)
    return f"{kind} {text if len(text) <= _SHOWN else text[: _SHOWN - 3] + '...'}"
