"""Writing without waiting, where the stream can: a lone small call then costs no turn of the writer task.

It does not break the rule that only the writer waits on the stream: what the kernel does not take at once is left to it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


def sender(stream: trio.abc.Stream) -> Callable[[bytes], int] | None:
    """A function that sends what it can and returns how many bytes that were; None if ``stream`` offers no such way."""
    if not isinstance(stream, trio.SocketStream):
        return None
    socket = stream.socket

    def send(data: bytes) -> int:
        try:
            return os.write(socket.fileno(), data)
        except OSError:
            # Full, or broken: the writer task finds out which, and waits or raises.
            return 0

    return send
