"""Text that others made up, as a terminal may have it: control characters are shown and not obeyed. Pure.

A reply, the zone of a member or the message of an error may hold an escape sequence that moves the cursor, changes what
was shown before, or types for the user.
"""

from __future__ import annotations

from typing import Final

_LAYOUT: Final = {"\n", "\t"}
_SHOWN: Final = {
    number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0)) if chr(number) not in _LAYOUT
}
_LINE: Final = {ord("\n"): "\\n", ord("\t"): "\\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def visible(text: str) -> str:
    """``text`` with control characters as escapes, but for ends of lines and tabs."""
    return text.translate(_SHOWN)


def on_one_line(text: str) -> str:
    """The same with ends of lines and tabs as escapes, too: nothing in it looks like a line or a cell of its own."""
    return text.translate(_SHOWN | _LINE)
