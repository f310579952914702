"""The sending side of a connection. One task waits on it; what others queue while it is busy leaves in one piece.

A lone small call, or a good part of a burst, is handed to the kernel at once where the stream allows: that saves a turn
of the task, and gives the other side something to start with. The task does the same with what is left of a burst. What
the kernel does not take is left to the task, so a cancelled call can never leave half a frame behind. Handing over is
`os.write` to the socket, which is POSIX only: elsewhere a socket is no file descriptor, and the task waits for the
stream each time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import trio

from swimring.net import SendsNow

from .parking import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.mux import Session

_BATCH: Final = 32
"""Calls, or small pieces of a stream, that are worth a write of their own: the other side can start meanwhile."""

_LARGE: Final = 64 * 1024
"""Bytes from which on there may be more of a large transfer behind them, which has to let other tasks run."""


class Writer:
    """Takes bytes from the session to the stream."""

    __slots__ = ("_busy", "_queued", "_send_now", "_session", "_stream", "_unsent", "_work", "watched")

    def __init__(self, session: Session, stream: trio.abc.Stream) -> None:
        """Idle until `run`."""
        self.watched = False
        """Whether `run` reports every time that all is written, however it was."""
        self._session = session
        self._stream = stream
        self._work = Signal()
        self._busy = False
        self._queued = 0
        self._unsent = b""
        self._send_now = _sender(stream)

    def poke(self) -> None:
        """There may be something to write, or to report."""
        self._work.say()

    def flush(self, *, alone: bool) -> None:
        """There is something to write: at once if it is ``alone`` or much, else together with what follows."""
        if self._busy or self._unsent:
            return  # `run` looks again when it has written what it has
        self._queued += 1
        if self._send_now is None or not (alone or self._queued >= _BATCH):
            if self._queued == 1:  # what follows before `run` has its turn needs no other word
                self._work.say()
            return
        self._queued = 0
        if data := self._session.bytes_to_send():
            self._unsent = data[self._send_now(data) :]
        if self._unsent or self.watched or self._session.has_bytes_to_send:
            self._work.say()

    def flush_bulk(self) -> None:
        """There is something of a byte stream to write: what is handed over at once needs no turn of the task."""
        self.flush(alone=True)

    def flush_more(self) -> None:
        """There is a small piece of a byte stream to write, which others will follow in this turn."""
        self.flush(alone=False)

    async def run(self, written: Callable[[], None]) -> None:
        """Write for ever; ``written`` is called when there is nothing more to write for now."""
        while True:
            self._queued = 0
            data, self._unsent = self._unsent or self._session.bytes_to_send(), b""
            if not data:
                written()
                await self._work.wait()
                continue
            if self._send_now is not None and len(data) < _LARGE:
                data = data[self._send_now(data) :]
            if data:
                self._busy = True
                await self._stream.send_all(data)
                self._busy = False


def _sender(stream: trio.abc.Stream) -> Callable[[bytes], int] | None:
    """A function that sends what it can and returns how many bytes that were; None if ``stream`` offers no such way."""
    if isinstance(stream, SendsNow):
        return stream.send_now
    if os.name != "posix" or not isinstance(stream, trio.SocketStream):
        return None
    socket = stream.socket

    def send(data: bytes) -> int:
        try:
            return os.write(socket.fileno(), data)
        except OSError:
            # Full, or broken: the task finds out which, and waits or raises.
            return 0

    return send
