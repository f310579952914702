"""Objects to CBOR bytes and back, bounded on both sides (RFC 8949, definite lengths only).

Decoding is for bytes from strangers: any fault is a `RemoteProtocolError`, nothing is allocated on the word of a
length field, map keys and members of sets are text or bytes (whose hashes an attacker cannot make collide), tags are on
a short list, trailing bytes are an error. Encoding is for values of our own users: what the other side would refuse is
a `LocalProtocolError` before anything is sent, so whatever `encode` returns, `decode` takes.

The values that pass: None, bool, int, float, str, bytes, list, dict, set of str or bytes, aware datetime, finite
Decimal, UUID; encoding also takes their subclasses, bytearray, tuple and Mapping, which arrive as the plain type.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias
from uuid import UUID

import cbor2

from swimring.errors import LocalProtocolError, RemoteProtocolError

from .flat import encode_flat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_DEPTH: Final = 32
"""Levels of nesting: a container is one, a tag is one."""

MAX_INTEGER_BITS: Final = 4096
"""Turning a larger integer into decimal text costs time that grows with the square of its length."""

MAX_DECIMAL_DIGITS: Final = 1233
"""The most digits that fit into MAX_INTEGER_BITS."""

MAX_DECIMAL_EXPONENT: Final = 6144
"""That of decimal128 (IEEE 754); int(Decimal("1E999999999")) would take all memory."""

# Shared references (28, 29) and string references (25, 256) let 195 bytes become 16.8 MB when encoded again; regular
# expressions (35) and MIME messages (36) run parsers nobody asked for; the rest is simply not on our list.
_REFUSED_TAGS: Final = (5, 25, 28, 29, 30, 35, 36, 52, 54, 100, 256, 260, 261, 1004, 43000, 55799)

# The first bytes of undefined and of simple values nobody assigned. They also occur inside text and numbers, so finding
# one only means that it is worth looking at every item; finding none (0.1 us for a small message) saves that.
_UNASSIGNED: Final = bytes([*range(0xE0, 0xF4), 0xF7, 0xF8])


def encode(value: object) -> bytes:
    """The CBOR bytes of ``value``.

    Raises:
        LocalProtocolError: a part of it has no place on the wire, is nested deeper than 32 levels, or has map keys
            other than str and bytes.
    """
    kind = type(value)
    try:
        if type(value) is dict:
            flat = encode_flat(value)
            if flat is not None:
                return flat
        if kind not in _PLAIN:
            _CHECKS.get(kind, _check_other)(value, MAX_DEPTH)
        return cbor2.dumps(value)
    except (cbor2.CBOREncodeError, ValueError, OverflowError) as error:
        raise LocalProtocolError(f"cannot be encoded: {error}") from error


def decode(data: bytes) -> Any:
    """The one value that ``data`` holds.

    Raises:
        RemoteProtocolError: the bytes are not exactly one well-formed value within the limits.
    """
    # `loads` takes half as long as a decoder of our own, but ignores trailing bytes. So we put the value in a pair with
    # one that cannot be in it: if that is not its second item, other bytes are in between.
    if len(data.translate(None, _UNASSIGNED)) == len(data):
        try:
            value, mark = _loads_pair(b"\x82" + data + b"\xf7")
        except Exception:  # noqa: BLE001 - looking closely finds out what it is
            value = mark = None
        if mark is cbor2.undefined:
            return value
    value, end = decode_first(data)
    if end != len(data):
        raise RemoteProtocolError(f"{len(data) - end} trailing bytes after a CBOR value")
    return value


def decode_first(data: bytes, start: int = 0) -> tuple[Any, int]:
    """The value that begins at ``start``, and where it ends.

    Raises:
        RemoteProtocolError: there is no well-formed value within the limits.
    """
    source = io.BytesIO(data)
    source.seek(start)
    try:
        value = cbor2.CBORDecoder(source, max_depth=MAX_DEPTH, **_RULES).decode()
        end = source.tell()
        read = data[start:end]
        if len(read.translate(None, _UNASSIGNED)) != len(read):
            _refuse_unassigned(value)
    except Exception as error:
        # cbor2 lets errors of its value constructors through (ValueError, OverflowError, RecursionError, ...):
        # whatever it is, these bytes are refused.
        because = f": {error.__cause__}" if error.__cause__ is not None else ""
        raise RemoteProtocolError(f"malformed CBOR: {error}{because}") from error
    return value, end


# ------------------------------------------------------------------------------------------ decoding, item by item


def _refuse(*_arguments: object) -> NoReturn:
    raise ValueError("this tag is not on the list")


def _decode_positive(payload: object, _immutable: bool) -> int:  # noqa: FBT001 (cbor2 calls it so)
    if not isinstance(payload, bytes) or len(payload) * 8 > MAX_INTEGER_BITS:
        raise ValueError(f"a big integer is at most {MAX_INTEGER_BITS} bits in a byte string")
    return int.from_bytes(payload, "big")


def _decode_negative(payload: object, immutable: bool) -> int:  # noqa: FBT001 (cbor2 calls it so)
    return -1 - _decode_positive(payload, immutable)


def _decode_decimal(payload: object, _immutable: bool) -> Decimal:  # noqa: FBT001 (cbor2 calls it so)
    if not isinstance(payload, list) or [type(item) for item in payload] != [int, int]:
        raise ValueError("a decimal is an array of two integers: exponent, mantissa")
    exponent, mantissa = payload
    if abs(exponent) > MAX_DECIMAL_EXPONENT:
        raise ValueError(f"the exponent of a decimal is at most {MAX_DECIMAL_EXPONENT}")
    # From text, because arithmetic on decimals rounds to the precision of the thread's context.
    return Decimal(f"{mantissa}E{exponent}")


_SEMANTIC_DECODERS: Final[Mapping[int, Any]] = {
    **dict.fromkeys(_REFUSED_TAGS, _refuse),
    2: _decode_positive,
    3: _decode_negative,
    4: _decode_decimal,
}

_RULES: Final[Mapping[str, Any]] = {
    "tag_hook": _refuse,
    "semantic_decoders": _SEMANTIC_DECODERS,
    "allow_indefinite": False,
    "allow_duplicate_keys": False,
    "strict_hashable_types": True,
}

_Loads: TypeAlias = "Callable[[bytes], tuple[Any, object]]"
_loads_pair: Final[_Loads] = partial(cbor2.loads, max_depth=MAX_DEPTH + 1, **_RULES)
"""Bound once: handing so many settings over takes as long as reading a small value."""


def _refuse_unassigned(value: object) -> None:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
    kinds = set(map(type, items))  # of many items there are few types
    if not kinds.isdisjoint(_MEANINGLESS):
        raise ValueError("undefined and unassigned simple values have no meaning here")
    if not kinds.isdisjoint(_CONTAINERS):
        for item in items:
            if type(item) in _CONTAINERS:
                _refuse_unassigned(item)


_CONTAINERS: Final = frozenset({dict, list})
_MEANINGLESS: Final = frozenset({type(cbor2.undefined), cbor2.CBORSimpleValue})


# ------------------------------------------------------------------------------------------ encoding, item by item

_Check: TypeAlias = "Callable[[Any, int], None]"

_PLAIN: Final = frozenset({str, bytes, bytearray, float, bool, type(None)})
_LEAST: Final = -(2**64)  # what CBOR says without a tag
_MOST: Final = 2**64 - 1


def _check_depth(left: int) -> None:
    # The interpreter crashes in cbor2 on a nesting of about 10,000, so levels are counted before it sees the value.
    if left <= 0:
        raise LocalProtocolError(f"nested deeper than {MAX_DEPTH} levels")


def _check_map(value: Mapping[object, object], left: int) -> None:
    if left <= 0:
        _check_depth(left)
    for key in value:
        if type(key) is not str and not isinstance(key, (str, bytes)):
            raise LocalProtocolError(f"map keys are str or bytes, not {type(key).__name__}")
    _check_items(value.values(), left - 1)


def _check_array(value: list[object] | tuple[object, ...], left: int) -> None:
    _check_depth(left)
    _check_items(value, left - 1)


def _check_items(items: Iterable[Any], left: int) -> None:
    for item in items:
        kind = type(item)
        if kind in _PLAIN or (kind is int and _LEAST <= item <= _MOST):
            continue
        _CHECKS.get(kind, _check_other)(item, left)


def _check_set(value: set[object] | frozenset[object], left: int) -> None:
    _check_depth(left - 1)
    for item in value:
        if not isinstance(item, (str, bytes)):
            raise LocalProtocolError(f"members of a set are str or bytes, not {type(item).__name__}: send a list")


def _check_integer(value: int, left: int) -> None:
    if not _LEAST <= value <= _MOST:
        _check_depth(left)
        if value.bit_length() > MAX_INTEGER_BITS:
            raise LocalProtocolError(f"an integer of {value.bit_length()} bits; the most is {MAX_INTEGER_BITS}")


def _check_decimal(value: Decimal, left: int) -> None:
    _check_depth(left - 2)  # a tag, its array, and the tag of a mantissa beyond 64 bits
    if not value.is_finite():
        raise LocalProtocolError(f"a decimal is finite, not {value}; float has infinities and NaN")
    _sign, digits, exponent = value.as_tuple()
    if len(digits) > MAX_DECIMAL_DIGITS or not -MAX_DECIMAL_EXPONENT <= int(exponent) <= MAX_DECIMAL_EXPONENT:
        raise LocalProtocolError(
            f"a decimal has at most {MAX_DECIMAL_DIGITS} digits and an exponent of at most {MAX_DECIMAL_EXPONENT}"
        )


def _check_datetime(value: datetime, left: int) -> None:
    _check_depth(left)
    offset = value.utcoffset()
    if offset is None:
        raise LocalProtocolError("a datetime needs a time zone: whose clock is meant is unknown on the other side")
    if offset % timedelta(minutes=1):
        raise LocalProtocolError(f"the offset of a datetime is in whole minutes (RFC 3339), not {offset}")


def _check_uuid(_value: UUID, left: int) -> None:
    _check_depth(left)


def _check_other(value: object, left: int) -> None:
    """Judge a value whose exact type is not in the table: a subclass of one that is, or something without a place."""
    if isinstance(value, (str, bytes, bytearray, float)):
        return
    for kind, check in _SUBCLASSES:
        if isinstance(value, kind):
            check(value, left)
            return
    name = type(value).__name__
    hint = "send bytes(view)" if isinstance(value, memoryview) else "name its type in the handler's annotations"
    raise LocalProtocolError(f"{name} has no place on the wire: {hint}")


_SUBCLASSES: Final[tuple[tuple[type[object], _Check], ...]] = (
    (int, _check_integer),
    (list, _check_array),
    (tuple, _check_array),
    (Mapping, _check_map),
    (set, _check_set),
    (frozenset, _check_set),
    (datetime, _check_datetime),
    (Decimal, _check_decimal),
    (UUID, _check_uuid),
)

_CHECKS: Final[Mapping[type[object], _Check]] = {
    dict: _check_map,
    **{kind: check for kind, check in _SUBCLASSES if kind is not Mapping},
}
