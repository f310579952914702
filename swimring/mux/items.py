"""Values on a byte stream: each is a length of 4 bytes and so many bytes of CBOR. Only the framing is here.

The length is checked against what this side takes before anything is kept for it.
"""

from __future__ import annotations

from typing import Final

from swimring.codec import encode
from swimring.errors import LocalProtocolError, RemoteProtocolError

ITEMS: Final = "@items"
"""The stream that carries the items of a generator, and both directions of a channel."""

RESERVED_STREAM: Final = "@"
"""Names of streams that begin with it belong to the protocol."""

_LENGTH: Final = 4


def pack_item(value: object, *, limit: int) -> bytes:
    """The bytes of one item, for a reader that takes ``limit`` bytes of it.

    Raises:
        LocalProtocolError: it is too large, or has no place in CBOR; nothing was sent.
    """
    body = encode(value)
    if len(body) > limit:
        raise LocalProtocolError(f"an item of {len(body)} bytes; the other side takes {limit}: send it in parts")
    return len(body).to_bytes(_LENGTH, "big") + body


class ItemReader:
    """Cuts what a byte stream carries into items. Keeps at most one that is not complete."""

    __slots__ = ("_kept", "_limit", "_needed")

    def __init__(self, limit: int) -> None:
        """Take items of at most ``limit`` bytes."""
        self._limit = limit
        self._kept = bytearray()
        self._needed = _LENGTH

    def feed(self, data: bytes) -> list[bytes]:
        """The items, still encoded, that are complete with ``data``.

        Raises:
            RemoteProtocolError: one is empty, or longer than the limit.
        """
        if self._kept:
            self._kept += data
            if len(self._kept) < self._needed:
                return []
            data = bytes(self._kept)
            self._kept.clear()
        items: list[bytes] = []
        at = 0
        while len(data) - at >= _LENGTH:
            length = int.from_bytes(data[at : at + _LENGTH], "big")
            if not 0 < length <= self._limit:
                raise RemoteProtocolError(f"an item of {length} bytes; from 1 to {self._limit} are allowed")
            after = at + _LENGTH + length
            if after > len(data):
                self._needed = _LENGTH + length
                break
            items.append(data[at + _LENGTH : after])
            at = after
        else:
            self._needed = _LENGTH
        self._kept += data[at:]
        return items

    def finish(self) -> None:
        """The stream has ended.

        Raises:
            RemoteProtocolError: within an item.
        """
        if self._kept:
            raise RemoteProtocolError(f"the stream ended {len(self._kept)} bytes into an item")
