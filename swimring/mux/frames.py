"""Frames: a fixed header of 12 bytes (length 3, kind 1, flags 1, stream id 7; big-endian) and a body.

The length is that of the body and is checked before anything is allocated. Stream id 0 is the connection itself.
"""

from __future__ import annotations

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


class Kind:
    """What a frame is, as plain numbers: members of an enumeration are ten times as slow to look up and to pack.

    Kinds below 0x10 belong to the connection and carry stream id 0 (CREDIT: any).
    """

    HELLO: Final = 0x01
    REFUSE: Final = 0x02
    PING: Final = 0x03
    PONG: Final = 0x04
    GOAWAY: Final = 0x05
    CREDIT: Final = 0x06
    PROOF: Final = 0x07
    REQUEST: Final = 0x10
    REPLY: Final = 0x11
    FAILURE: Final = 0x12
    BODY: Final = 0x13
    CANCEL: Final = 0x14
    DONE: Final = 0x15
    OFFER: Final = 0x16
    DATA: Final = 0x18
    RESET: Final = 0x19


def frame(kind: int, flags: int, stream_id: int, body: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return HEADER.pack(len(body) << 8 | kind, flags << 56 | stream_id) + body


def data_frame(stream_id: int, chunk: bytes | memoryview) -> bytes:
    """The bytes of a DATA frame; `frame` would copy the chunk twice."""
    return b"".join((HEADER.pack(len(chunk) << 8 | Kind.DATA, stream_id), chunk))


def cut(kind: int, stream_id: int, message: bytes, size: int) -> list[bytes]:
    """Frames of at most ``size`` bytes for one message: ``kind`` first, BODY for the rest, END on the last."""
    if len(message) <= size:
        return [frame(kind, END, stream_id, message)]
    frames = [frame(kind, 0, stream_id, message[:size])]
    for start in range(size, len(message), size):
        last = start + size >= len(message)
        frames.append(frame(Kind.BODY, END if last else 0, stream_id, message[start : start + size]))
    return frames
