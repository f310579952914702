"""Lamport's clock: a counter that puts what followed from something after it, without any clock of the machine."""

from __future__ import annotations


class LamportClock:
    """The time of one node (Lamport, 1978)."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.time = 0

    def tick(self) -> int:
        """Something happened here: its time."""
        self.time += 1
        return self.time

    def witness(self, time: int) -> None:
        """Something of that ``time`` was heard of: what happens here from now on is later."""
        self.time = max(self.time, time + 1)
