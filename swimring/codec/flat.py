"""Small maps of text to scalars, encoded by hand: the fields and the result of nearly every call are one.

The bytes are those that `cbor2` writes. It checks and encodes in one pass, where the general way looks at every value
first and then has an encoder made for it: on CPython 3.11 that takes twice as long.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from math import isfinite
from typing import Any, Final

_NEGATIVE: Final = 0x20
_BYTES: Final = 0x40
_TEXT: Final = 0x60
_MOST_FIELDS: Final = 23
_MOST_BYTES: Final = 255
_MOST_NAME: Final = 63
_NUMBERS: Final = (
    (1 << 8, 24, struct.Struct(">BB").pack),
    (1 << 16, 25, struct.Struct(">BH").pack),
    (1 << 32, 26, struct.Struct(">BI").pack),
    (1 << 64, 27, struct.Struct(">BQ").pack),
)
_FLOAT: Final = struct.Struct(">Bd").pack


class _NotFlatError(Exception):
    """There is something that only the general way encodes."""


def _head(major: int, number: int) -> bytes:
    """The first bytes of an item: what it is, and its value or length."""
    if number < 24:
        return bytes([major | number])
    for limit, how, pack in _NUMBERS:
        if number < limit:
            return pack(major | how, number)
    raise _NotFlatError  # a larger number has a tag


def _scalar(item: Any) -> bytes:
    """What is less often a field than a short text or a small number."""
    kind = type(item)
    if item is None:
        return _NONE
    if kind is int:
        return _head(0, item) if item >= 0 else _head(_NEGATIVE, -1 - item)
    if kind is float and isfinite(item):
        return _FLOAT(0xFB, item)
    if kind is bytes and len(item) <= _MOST_BYTES:
        return _head(_BYTES, len(item)) + bytes(item)
    raise _NotFlatError


_WORDS: Final = (b"\xf4", b"\xf5")
_NONE: Final = b"\xf6"
_MAPS: Final = tuple(bytes([0xA0 | count]) for count in range(_MOST_FIELDS + 1))
_TEXTS: Final = tuple(_head(_TEXT, size) for size in range(_MOST_BYTES + 1))
_SMALL: Final = {number: _head(0, number) for number in range(256)}


@lru_cache(1024)
def _name(name: object) -> bytes:
    """A key of a map: a program has few of them, and uses them again and again."""
    if not isinstance(name, str) or len(name) > _MOST_NAME:
        raise _NotFlatError
    raw = name.encode()
    return _TEXTS[len(raw)] + raw


def encode_flat(value: dict[object, object]) -> bytes | None:
    """The CBOR bytes of ``value``; None if it is large, or holds anything else, which `encode` looks at closely.

    Raises:
        UnicodeEncodeError: a text has lone surrogates.
    """
    try:
        data = _MAPS[len(value)]
        for name, item in value.items():
            if type(item) is str:
                raw = item.encode()
                data += _name(name) + _TEXTS[len(raw)] + raw
            elif type(item) is bool:
                data += _name(name) + _WORDS[item]
            else:
                data += _name(name) + (_SMALL[item] if type(item) is int and item in _SMALL else _scalar(item))
    except (IndexError, _NotFlatError):
        return None
    return data
