"""Rumours and digests in the bytes of an envelope, recognised where they have been read before.

Everybody hears each rumour from many others: with a thousand members some sixteen times, in packets that are different
each time and hold the same bytes for it. CBOR says of itself where it ends, so bytes that begin as a known rumour does
are that rumour. Only what is new is parsed, and all that heard the same share one record. Of a profile of a thousand
members in one process, parsing and writing records again and again was more than half. The same goes for the lines of
digests: nearly all of them are what everybody has.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from swimring.codec import decode, decode_first

from .member import Member, Rumour, Summary

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RUMOURS_AT: Final = 7
"""The place of the rumours in the array of an envelope."""

STATE: Final = 8
"""The kind of a message that may have a digest."""

_DIGEST_AT: Final = RUMOURS_AT + 2  # after one byte, whether more follows
_FLAGS: Final = (0xF4, 0xF5)

MAX_RUMOURS: Final = 4096
_MAX_KNOWN: Final = 16_384
_MAX_SIZE: Final = 1024  # of a rumour that is remembered; one with all at its largest is parsed again each time
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
        rumours, at = _rumours.read(body, at, count)
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
    return _summaries.read(body, start, count)


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

    Holds the latest 8 about each of 16,384 names, newest first, as bytes and as read; then it begins anew. Only those
    of at most 1 KiB: what a sender appends for later versions must not fill the memory.
    """

    def __init__(self, make: Callable[[object], T]) -> None:
        """Nothing was read yet; ``make`` reads what is new."""
        self._make = make
        self._known: dict[bytes, list[tuple[bytes, T]]] = {}

    def read(self, body: bytes, at: int, count: int) -> tuple[list[T], int]:
        """The ``count`` things at ``at``, and where they end."""
        found, everything = [], self._known
        for _ in range(count):
            short = body[at + 1] - 0x60
            name = body[at + 1 : at + 2 + short] if 0 <= short < 24 else _long_name(body, at)
            for encoded, known in everything.get(name, ()):
                if body.startswith(encoded, at):
                    found.append(known)
                    at += len(encoded)
                    break
            else:
                new, at = self._parsed(body, at, name)
                found.append(new)
        return found, at

    def _parsed(self, body: bytes, at: int, name: bytes) -> tuple[T, int]:
        """What is at ``at``, remembered under the encoded ``name``, and where it ends."""
        wire, end = decode_first(body, at)
        new = self._make(wire)
        if end - at > _MAX_SIZE:
            return new, end
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        versions = self._known.setdefault(name, [])
        versions.insert(0, (body[at:end], new))
        del versions[_VERSIONS:]
        return new, end


def _long_name(body: bytes, at: int) -> bytes:
    """The encoded first item of the record at ``at``, if it is a text that has its length in bytes of its own."""
    try:
        major, length, end = _head(body, at + 1)
    except (IndexError, ValueError):
        return b""
    return body[at + 1 : end + length] if major == 3 else b""


@functools.lru_cache(maxsize=16_384)
def _shared(member: Member) -> Member:
    """The first record that was equal to ``member``."""
    return member


def _rumour(wire: object) -> Rumour:
    rumour = Rumour.from_wire(wire)
    return Rumour(member=_shared(rumour.member), accuser=rumour.accuser)


_rumours: Final = _Recognition(_rumour)
_summaries: Final = _Recognition(Summary.from_wire)
