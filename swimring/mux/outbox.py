"""What waits to be written: urgent frames in order, and bulk frames of many streams in turn.

Requests, small messages and control frames are urgent. Stream data and the later parts of large messages are bulk:
each stream gives one frame per turn, so a file does not delay a call by more than what one `take` returns.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from .frames import HEADER_SIZE, Kind

_KIND_AT: Final = 3


class Outbox:
    """Frames on their way to the writer. Bounded by credit: what has none never gets here."""

    __slots__ = ("_bulk", "_turns", "_urgent", "queued", "taken")

    def __init__(self) -> None:
        """Start empty."""
        self._urgent: list[bytes] = []
        self._bulk: dict[int, deque[bytes]] = {}
        self._turns: deque[int] = deque()
        self.queued = 0
        self.taken = 0

    def __bool__(self) -> bool:
        return bool(self._urgent or self._turns)

    def push(self, frame: bytes) -> int:
        """Queue an urgent frame; return its number, to be compared with `taken`."""
        self._urgent.append(frame)
        self.queued += 1
        return self.queued

    def push_bulk(self, stream_id: int, frame: bytes) -> None:
        """Queue a frame behind the others of its stream."""
        queue = self._bulk.get(stream_id)
        if queue is None:
            self._bulk[stream_id] = queue = deque()
            self._turns.append(stream_id)
        queue.append(frame)

    def has_bulk(self, stream_id: int) -> bool:
        """Whether bulk frames of that stream wait."""
        return stream_id in self._bulk

    def drop(self, stream_id: int) -> int:
        """Forget the bulk frames of a stream; return how many bytes of credit they had cost."""
        queue = self._bulk.pop(stream_id, None)
        if queue is None:
            return 0
        self._turns.remove(stream_id)
        # A RESET that waits behind the last data has a body, but costs nothing.
        return sum(len(frame) - HEADER_SIZE for frame in queue if frame[_KIND_AT] != Kind.RESET)

    def clear(self) -> None:
        """Forget everything that waits."""
        self._urgent.clear()
        self._bulk.clear()
        self._turns.clear()

    def take(self, limit: int) -> tuple[bytes, list[int]]:
        """All urgent frames, and bulk frames up to about ``limit`` bytes; and the streams that have no more."""
        parts, self._urgent = self._urgent, []
        self.taken = self.queued
        emptied: list[int] = []
        if self._turns:
            self._take_bulk(parts, limit, emptied)
        return (parts[0] if len(parts) == 1 else b"".join(parts)), emptied

    def _take_bulk(self, parts: list[bytes], limit: int, emptied: list[int]) -> None:
        size = sum(map(len, parts))
        while self._turns and size < limit:
            stream_id = self._turns.popleft()
            queue = self._bulk[stream_id]
            frame = queue.popleft()
            parts.append(frame)
            size += len(frame)
            if queue:
                self._turns.append(stream_id)
            else:
                del self._bulk[stream_id]
                emptied.append(stream_id)
