"""Patterns written as one line of text: ``greet``, ``ns:kv,cmd:put``, ``ns:kv,user:{role:admin,age:...}``.

Fields are separated by commas, a name from its value by the first colon. A value is ``true``, ``false``, ``null``, a
number, ``...`` for "present", braces around fields, or else text; spaces around names and values do not count. Text
that contains a comma, or that would be read as something else, is for the mapping form.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORDS: Final[dict[str, object]] = {"true": True, "false": False, "null": None, "...": ...}
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_FLOAT: Final = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}")


def read(text: str) -> dict[str, object]:
    """The mapping that ``text`` abbreviates; text without a colon is the value of ``cmd``.

    Raises:
        ConfigError: a field has no name or no value, a name comes twice, or braces do not match.
    """
    text = text.strip()
    if not text:
        raise ConfigError("pattern", text, 'write a command such as "greet" or fields such as "ns:kv,cmd:put"')
    if ":" not in text and "," not in text:
        return {"cmd": text}
    return _fields(text, whole=text)


def _fields(text: str, *, whole: str) -> dict[str, object]:
    fields: dict[str, object] = {}
    for part in _split(text, whole):
        name, colon, value = (piece.strip() for piece in part.partition(":"))
        if not (name and colon and value):
            raise ConfigError("pattern", whole, f"{part.strip()!r} is not name:value")
        if name in fields:
            raise ConfigError("pattern", whole, f"{name!r} is there twice")
        fields[name] = _value(value, whole)
    return fields


def _value(text: str, whole: str) -> object:
    if text.startswith("{"):
        if not text.endswith("}"):
            raise ConfigError("pattern", whole, "a brace is not closed at the end of its value")
        inner = text[1:-1].strip()
        return _fields(inner, whole=whole) if inner else {}
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _split(text: str, whole: str) -> Iterator[str]:
    """The parts between the commas that are outside of braces."""
    depth = start = 0
    for at, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth < 0:
                raise ConfigError("pattern", whole, "a brace is closed that was not opened")
        elif character == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    if depth:
        raise ConfigError("pattern", whole, "a brace is not closed")
    yield text[start:]
