"""One flow-control window, seen from its two ends.

The receiver's `Window` says how much may still arrive; the sender's `Allowance` says how much may still be sent. Credit
goes back in steps of half a window, so that small reads do not cost a frame each.
"""

from __future__ import annotations

from swimring.errors import LocalProtocolError, RemoteProtocolError


class Window:
    """The receiving end: bytes that may still arrive, and bytes read that the sender has not been told about."""

    __slots__ = ("_owed", "_room", "_size")

    def __init__(self, size: int) -> None:
        """Open a window of ``size`` bytes."""
        self._size = size
        self._room = size
        self._owed = 0

    def arrive(self, count: int) -> None:
        """Count bytes that came in.

        Raises:
            RemoteProtocolError: more than the credit that was given.
        """
        if count > self._room:
            raise RemoteProtocolError(f"{count} bytes exceed the remaining credit of {self._room}")
        self._room -= count

    def pass_on(self, count: int) -> int:
        """Count bytes that came in and are read already; return the credit to announce now.

        Raises:
            RemoteProtocolError: more than the credit that was given.
        """
        room = self._room - count
        if room < 0:
            self.arrive(count)
        self._room = room
        owed = self._owed = self._owed + count
        return 0 if owed * 2 < self._size else self.release(0)

    def release(self, count: int) -> int:
        """Count bytes that were read; return the credit to announce now, 0 while it is less than half a window."""
        self._owed += count
        if self._owed * 2 < self._size:
            return 0
        grant, self._owed = self._owed, 0
        self._room += grant
        return grant


class Allowance:
    """The sending end: bytes that may still be sent."""

    __slots__ = ("_size", "available")

    def __init__(self, size: int) -> None:
        """Start with the ``size`` that the other side announced."""
        self._size = size
        self.available = size

    def spend(self, count: int) -> None:
        """Use credit.

        Raises:
            LocalProtocolError: there is not that much.
        """
        if count > self.available:
            raise LocalProtocolError(f"{count} bytes to send with a credit of {self.available}")
        self.available -= count

    def refund(self, count: int) -> None:
        """Take back credit of bytes that were dropped before they were sent."""
        self.available += count

    def grant(self, count: int) -> None:
        """Add what the other side returned.

        Raises:
            RemoteProtocolError: nothing was returned, or more than was spent.
        """
        if count == 0 or self.available + count > self._size:
            raise RemoteProtocolError(f"a credit of {count} on top of {self.available} in a window of {self._size}")
        self.available += count
