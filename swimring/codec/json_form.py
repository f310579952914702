"""Wire values as JSON shows them: what JSON Schemas describe, and what the command line prints."""

from __future__ import annotations

import math


def json_form(value: object) -> object:
    """``value`` in what JSON can say.

    Bytes are hexadecimal text, datetimes, decimals and UUIDs their text, sets sorted arrays, other keys than text are
    text; infinities and not-a-number, of which JSON knows none, are null.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return value.hex()
        case dict():
            return {key if isinstance(key, str) else str(json_form(key)): json_form(one) for key, one in value.items()}
        case list() | tuple():
            return [json_form(one) for one in value]
        case set() | frozenset():
            return sorted((json_form(one) for one in value), key=str)
        case _:
            return value.isoformat() if hasattr(value, "isoformat") else str(value)
