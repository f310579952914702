"""Envelopes over a stream, read with a bound on what is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swimring.swim import FRAME_HEADER_SIZE, BytesRefused

if TYPE_CHECKING:
    import trio

    from swimring.swim import Envelope

    from .envelopes import Conversation

_READ_SIZE: Final = 64 * 1024


class Frames:
    """One gossip connection: whole envelopes in and out; holds at most one frame and what came with it."""

    def __init__(self, stream: trio.abc.Stream, talk: Conversation, *, received: bytes = b"") -> None:
        """Read on after ``received``; ``talk`` says what the bytes mean."""
        self._stream = stream
        self._talk = talk
        self._buffer = bytearray(received)

    async def send(self, *envelopes: Envelope) -> None:
        """Send envelopes in order.

        Raises:
            trio.BrokenResourceError: the connection is gone.
        """
        for envelope in envelopes:
            await self._stream.send_all(self._talk.write(envelope))

    async def receive(self) -> Envelope | None:
        """The next envelope; None when the other side has said all.

        Raises:
            BytesRefused: what came is no envelope of our cluster and version, or ends in the middle of one.
            trio.BrokenResourceError: the connection is gone.
        """
        if not await self._fill(1):
            return None
        self._talk.check_magic(bytes(self._buffer[:1]))  # before more is waited for
        await self._need(FRAME_HEADER_SIZE)
        length = FRAME_HEADER_SIZE + self._talk.frame_length(bytes(self._buffer[:FRAME_HEADER_SIZE]))
        await self._need(length)
        frame = bytes(self._buffer[:length])
        del self._buffer[:length]
        return self._talk.read(frame)

    async def _need(self, size: int) -> None:
        if not await self._fill(size):
            raise BytesRefused("truncated", "the connection ended in the middle of a frame")

    async def _fill(self, size: int) -> bool:
        while len(self._buffer) < size:
            data = await self._stream.receive_some(_READ_SIZE)
            if not data:
                return False
            self._buffer += data
        return True
