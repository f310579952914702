"""Annotations without parts: numbers, text, bytes, times, identifiers, and choices among fixed values.

Nothing is coerced, with one exception: an int is taken where a float is asked. A bool is not an int. Loading and
dumping a scalar are the same function, because the wire has all these types; subclasses become the plain type.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin
from uuid import UUID

from swimring.errors import ConfigError

from .checker import ANYTHING, Checker, Convert, mismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIRE_SCALARS: Final = (type(None), bool, int, float, str, bytes, Decimal, UUID, datetime)


def _exactly(kind: type[object]) -> Convert:
    """Take values of ``kind`` and its subclasses as they are."""

    def take(value: object) -> object:
        if type(value) is kind or isinstance(value, kind):
            return value
        raise mismatch(value, kind.__name__)

    return take


def _take_none(value: object) -> None:
    if value is not None:
        raise mismatch(value, "None")


def _take_int(value: object) -> int:
    if type(value) is int:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__pos__(value)  # a plain int, whatever the subclass makes of int()
    raise mismatch(value, "int")


def _take_float(value: object) -> float:
    if type(value) is float:
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float.__pos__(value) if isinstance(value, float) else float(value)
        except OverflowError:
            pass
    raise mismatch(value, "float")


def _take_str(value: object) -> str:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)  # the text of a member of a str enumeration, not its name
    raise mismatch(value, "str")


def _take_bytes(value: object) -> bytes:
    if type(value) is bytes:
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise mismatch(value, "bytes")


def _take_datetime(value: object) -> datetime:
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value
    raise mismatch(value, "datetime with a time zone")


def _scalar(kind: type[object], take: Convert, *also: type[object]) -> Checker:
    name = "None" if kind is type(None) else kind.__name__
    return Checker(allowed=name, load=take, dump=take, kinds=frozenset({kind, *also}), transparent=True)


def _as_is(value: object) -> object:
    return value


_ANY: Final = Checker(allowed="anything", load=_as_is, dump=_as_is, kinds=ANYTHING, transparent=True)

_SCALARS: Final[Mapping[object, Checker]] = {
    Any: _ANY,
    object: _ANY,
    None: _scalar(type(None), _take_none),
    type(None): _scalar(type(None), _take_none),
    bool: _scalar(bool, _exactly(bool)),
    int: _scalar(int, _take_int),
    float: _scalar(float, _take_float, int),
    str: _scalar(str, _take_str),
    bytes: _scalar(bytes, _take_bytes),
    datetime: _scalar(datetime, _take_datetime),
    Decimal: _scalar(Decimal, _exactly(Decimal)),
    UUID: _scalar(UUID, _exactly(UUID)),
}


def scalar(hint: object) -> Checker | None:
    """The checker of a scalar annotation, or of Any; None for any other."""
    return _SCALARS.get(hint)


def literal(hint: object, where: str) -> Checker | None:
    """The checker of a ``Literal[...]``; None for any other annotation.

    Raises:
        ConfigError: it lists a member of an enumeration whose value is not a scalar.
    """
    if get_origin(hint) is not Literal:
        return None
    members = [(member, _wire_value(member, where)) for member in get_args(hint)]
    allowed = " or ".join(repr(wire) for _member, wire in members)
    plain = all(not isinstance(member, enum.Enum) for member, _wire in members)
    return _choice(members, allowed, transparent=plain)


def enumeration(hint: object, where: str) -> Checker | None:
    """The checker of an enumeration, whose members travel as their values; None for any other annotation.

    Raises:
        ConfigError: one of the values is not a scalar.
    """
    if not (isinstance(hint, type) and issubclass(hint, enum.Enum)):
        return None
    if issubclass(hint, enum.Flag):
        return _flags(hint)
    members: list[tuple[object, object]] = [(member, _wire_value(member, where)) for member in hint]
    allowed = f"{hint.__name__} ({', '.join(repr(wire) for _member, wire in members)})"
    return _choice(members, allowed, transparent=False)


def _wire_value(member: object, where: str) -> object:
    wire = member.value if isinstance(member, enum.Enum) else member
    if type(wire) not in _WIRE_SCALARS:
        raise ConfigError(where, member, "the values of an enumeration that is sent are scalars: str, int, bytes, ...")
    return wire


def _choice(members: list[tuple[object, object]], allowed: str, *, transparent: bool) -> Checker:
    # Keyed by type and value, because True == 1 == 1.0.
    loading = {(type(wire), wire): member for member, wire in members}
    dumping = {(type(member), member): wire for member, wire in members}

    def load(value: object) -> object:
        if (kind := type(value)) in kinds and (kind, value) in loading:
            return loading[kind, value]
        raise mismatch(value, allowed)

    def dump(value: object) -> object:
        if (kind := type(value)) in takes and (kind, value) in dumping:
            return dumping[kind, value]
        raise mismatch(value, allowed)

    kinds = frozenset(type(wire) for _member, wire in members)
    takes = frozenset(type(member) for member, _wire in members)
    return Checker(allowed=allowed, load=load, dump=dump, kinds=kinds, transparent=transparent)


def _flags(hint: type[enum.Flag]) -> Checker:
    def load(value: object) -> enum.Flag:
        if type(value) is int:
            try:
                return hint(value)
            except ValueError:
                pass
        raise mismatch(value, f"an int of {hint.__name__}")

    def dump(value: object) -> object:
        if isinstance(value, hint):
            return value.value
        raise mismatch(value, hint.__name__)

    return Checker(allowed=hint.__name__, load=load, dump=dump, kinds=frozenset({int}))
