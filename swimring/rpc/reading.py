"""The receiving side of a connection: one wait, then one read from the kernel.

`trio.SocketStream.receive_some` tries to read first, which is in vain on a connection that waits for the next call.
Reading is `os.read` from the socket, which is POSIX only, as writing is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def reader(stream: trio.abc.Stream) -> Callable[[int], Awaitable[bytes | bytearray]]:
    """A function that waits for bytes and returns at most so many, none at the end; for one task."""
    if os.name != "posix" or not isinstance(stream, trio.SocketStream):
        return stream.receive_some
    socket = stream.socket

    async def read(size: int) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(socket)
            try:
                return os.read(socket.fileno(), size)
            except BlockingIOError:
                pass  # readiness is a hint: a segment may have been dropped for its checksum

    return read
