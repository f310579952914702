"""Rumours and digests in the bytes of an envelope, recognised where they have been read before.

Everybody hears each rumour from many others: with a thousand members some sixteen times, in packets that are different
each time and hold the same bytes for it. CBOR says of itself where it ends, so bytes that begin as a known rumour does
are that rumour. Only what is new is parsed, and all that heard the same share one record. Of a profile of a thousand
members in one process, parsing and writing records again and again was more than half. The same goes for the lines of
digests: nearly all of them are what everybody has.
"""

from __future__ import annotations

import functools
from typing import Any, Final, Generic, TypeVar

from swimring.codec import decode, decode_first, encode

from .member import Member, Rumour, Summary, name_from, shared

T = TypeVar("T")

RUMOURS_AT: Final = 7
"""The place of the rumours in the array of an envelope."""

STATE: Final = 8
"""The kind of a message that may have a digest."""

_DIGEST_AT: Final = RUMOURS_AT + 2  # after one byte, whether more follows
_FLAGS: Final = (0xF4, 0xF5)
_ACCUSES: Final = 0x88  # the head of a record that is followed by its accuser
_HEADS: Final = (0x87, _ACCUSES)
_LINE: Final = 0x85

MAX_RUMOURS: Final = 4096
_MAX_KNOWN: Final = 16_384
_VERSIONS: Final = 8
_EMPTY_ARRAY: Final = b"\x80"


def read_array(body: bytes) -> Any:
    """The CBOR value ``body``; if it is an array with rumours at their place, these are read already.

    Raises:
        RemoteProtocolError: it is malformed, or one of the rumours is.
    """
    try:
        start = _after_head(body)
        count, at = _array_head(body, start)
        rumours, at = _read_rumours(body, at, count)
        digest, end = _read_digest(body, at)
    except (IndexError, ValueError):
        return decode(body)  # whatever it is: its reader says what is wrong
    if digest is None:
        wire = decode(body[:start] + _EMPTY_ARRAY + body[at:])
    else:
        wire = decode(body[:start] + _EMPTY_ARRAY + body[at : at + 1] + _EMPTY_ARRAY + body[end:])
        wire[_DIGEST_AT] = digest
    wire[RUMOURS_AT] = rumours
    return wire


def _read_digest(body: bytes, at: int) -> tuple[list[Summary] | None, int]:
    """The digest after the rumours, which end at ``at``, if there is one; and where it ends."""
    if body[1] != STATE or body[0] <= 0x80 + _DIGEST_AT or body[at] not in _FLAGS or body[at + 1] >> 5 != 4:
        return None, at
    count, start = _array_head(body, at + 1)
    return _read_lines(body, start, count)


def array_head(count: int) -> bytes:
    """The bytes that begin a CBOR array of ``count`` items, below 65,536."""
    if count < 24:
        return bytes([0x80 | count])
    return bytes([0x98, count]) if count < 256 else b"\x99" + count.to_bytes(2, "big")


def _after_head(body: bytes) -> int:
    """Where the rumours of an envelope begin, if it is one: an array of more than 7 items, first numbers and texts."""
    if not 0x80 + RUMOURS_AT < body[0] < 0x98:
        raise ValueError
    at = 1
    for _ in range(RUMOURS_AT):
        major, value, at = _head(body, at)
        if major == 3:
            at += value
        elif major != 0:
            raise ValueError
    return at


def _array_head(body: bytes, at: int) -> tuple[int, int]:
    major, count, at = _head(body, at)
    if major != 4 or count > MAX_RUMOURS:
        raise ValueError
    return count, at


def _head(body: bytes, at: int) -> tuple[int, int, int]:
    """Major type, value, and where it ends, of the CBOR head at ``at``."""
    first = body[at]
    value = first & 31
    at += 1
    if value >= 24:
        if value >= 28:
            raise ValueError
        size = 1 << (value - 24)
        value = int.from_bytes(body[at : at + size], "big")
        at += size
    return first >> 5, value, at


class _Recognition(Generic[T]):
    """The things of one kind that were read, by the encoded names they begin with.

    Holds the latest 8 about each of 16,384 names, newest first, as bytes and as read; then it begins anew.
    """

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._known: dict[bytes, list[tuple[bytes, T]]] = {}

    def find(self, body: bytes, at: int) -> tuple[T, int] | None:
        """What is at ``at``, after the head of its array, and where it ends; None if it is new."""
        short = body[at] - 0x60
        name = body[at : at + 1 + short] if 0 <= short < 24 else _long_name(body, at)
        for encoded, known in self._known.get(name, ()):
            if body.startswith(encoded, at):
                return known, at + len(encoded)
        return None

    def remember(self, body: bytes, at: int, encoded: bytes, new: T) -> None:
        """What begins after the head of an array at ``at`` is ``new``, which we would write as ``encoded``.

        What its sender writes otherwise, or appends for later versions, is not remembered: it must not fill the memory.
        """
        if not body.startswith(encoded, at):
            return
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        versions = self._known.setdefault(_long_name(body, at), [])
        versions.insert(0, (encoded, new))
        del versions[_VERSIONS:]


_records: Final = _Recognition[Rumour]()
_lines: Final = _Recognition[Summary]()


def _read_rumours(body: bytes, at: int, count: int) -> tuple[list[Rumour], int]:
    """The ``count`` rumours at ``at``, and where they end."""
    rumours = []
    for _ in range(count):
        found = _records.find(body, at + 1) if body[at] in _HEADS else None
        if found is not None and body[at] == _ACCUSES:
            record, end = found
            stop = end + body[end] - 0x5F
            accuser = body[end:stop]
            found = (_accused(record.member, accuser), stop) if 0 < stop - end < 25 else None
        if found is None:
            found = _parsed_rumour(body, at)
        rumours.append(found[0])
        at = found[1]
    return rumours, at


def _parsed_rumour(body: bytes, at: int) -> tuple[Rumour, int]:
    wire, end = decode_first(body, at)
    rumour = Rumour.from_wire(wire)
    record = shared(rumour.member)
    plain = Rumour(member=record)
    _records.remember(body, at + 1, record.encoded[1:], plain)
    return _accused(record, encode(rumour.accuser)) if rumour.accuser else plain, end


@functools.lru_cache(maxsize=16_384)
def _accused(record: Member, encoded: bytes) -> Rumour:
    """A partition makes everybody accuse half of all members: the record is the same, whoever accuses."""
    accuser = decode(encoded)
    return Rumour(member=record, accuser=name_from(accuser) if accuser != "" else "")


def _read_lines(body: bytes, at: int, count: int) -> tuple[list[Summary], int]:
    """The ``count`` summaries at ``at``, and where they end."""
    lines = []
    for _ in range(count):
        found = _lines.find(body, at + 1) if body[at] == _LINE else None
        if found is None:
            found = _parsed_line(body, at)
        lines.append(found[0])
        at = found[1]
    return lines, at


def _parsed_line(body: bytes, at: int) -> tuple[Summary, int]:
    wire, end = decode_first(body, at)
    line = Summary.from_wire(wire)
    _lines.remember(body, at + 1, line.encoded[1:], line)
    return line, end


def _long_name(body: bytes, at: int) -> bytes:
    """The encoded text at ``at``, if it is one."""
    try:
        major, length, end = _head(body, at)
    except (IndexError, ValueError):
        return b""
    return body[at : end + length] if major == 3 else b""
