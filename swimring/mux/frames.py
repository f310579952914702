"""Frames: a fixed header of 12 bytes (length 3, kind 1, flags 1, stream id 7; big-endian) and a body.

The length is that of the body and is checked before anything is allocated. Stream id 0 is the connection itself.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

MAGIC: Final = 0xF1
"""Byte 0 of a connection, in both directions: high nibble mux, low nibble the version of this framing."""

HEADER: Final = struct.Struct(">IQ")
HEADER_SIZE: Final = HEADER.size
MAX_STREAM_ID: Final = 2**56 - 1

END: Final = 0x01
"""Flag: the message or byte stream ends with this frame."""
MESSAGES: Final = 0x02
"""Flag of CREDIT on stream 0: the credit is for messages, not for stream data."""
IGNORABLE: Final = 0x80
"""Flag: whoever does not know this kind of frame skips it."""


class Kind(enum.IntEnum):
    """What a frame is. Kinds below 0x10 belong to the connection and carry stream id 0 (CREDIT: any)."""

    HELLO = 0x01
    REFUSE = 0x02
    PING = 0x03
    PONG = 0x04
    GOAWAY = 0x05
    CREDIT = 0x06
    PROOF = 0x07
    REQUEST = 0x10
    REPLY = 0x11
    FAILURE = 0x12
    BODY = 0x13
    CANCEL = 0x14
    DONE = 0x15
    OFFER = 0x16
    DATA = 0x18
    RESET = 0x19


def frame(kind: int, flags: int, stream_id: int, body: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return HEADER.pack(len(body) << 8 | kind, flags << 56 | stream_id) + body


def cut(kind: int, stream_id: int, message: bytes, size: int) -> list[bytes]:
    """Frames of at most ``size`` bytes for one message: ``kind`` first, BODY for the rest, END on the last."""
    if len(message) <= size:
        return [frame(kind, END, stream_id, message)]
    frames = [frame(kind, 0, stream_id, message[:size])]
    for start in range(size, len(message), size):
        last = start + size >= len(message)
        frames.append(frame(Kind.BODY, END if last else 0, stream_id, message[start : start + size]))
    return frames
