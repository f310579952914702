"""What has arrived already: a window of counters per sender (RFC 4303, section 3.4.3), in a bounded table."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

WINDOW: Final = 64
_BITS: Final = (1 << WINDOW) - 1

Sender = TypeVar("Sender")


class Window:
    """The highest counter of one sender, and which of the 64 up to it have arrived."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        """Nothing has arrived."""
        self._highest = -1
        self._seen = 0

    def is_new(self, counter: int) -> bool:
        """Whether ``counter`` has certainly not arrived before; what is too old to tell counts as arrived."""
        behind = self._highest - counter
        return behind < 0 or (behind < WINDOW and not self._seen >> behind & 1)

    def take(self, counter: int) -> bool:
        """Take note of ``counter``; whether it was new."""
        if not self.is_new(counter):
            return False
        ahead = counter - self._highest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _BITS if ahead < WINDOW else 1
            self._highest = counter
        else:
            self._seen |= 1 << -ahead
        return True


class Windows(Generic[Sender]):
    """A window for each of so many senders; beyond that the one not heard for longest is forgotten."""

    def __init__(self, capacity: int) -> None:
        """Remember at most ``capacity`` senders."""
        self._capacity = capacity
        self._windows: dict[Sender, Window] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def is_new(self, sender: Sender, counter: int) -> bool:
        """Whether that counter of ``sender`` can be taken."""
        window = self._windows.get(sender)
        return window is None or window.is_new(counter)

    def take(self, sender: Sender, counter: int) -> bool:
        """Take note of an authentic ``counter`` of ``sender``; whether it was new."""
        window = self._windows.pop(sender, None) or Window()
        self._windows[sender] = window  # the last place: heard most recently
        if len(self._windows) > self._capacity:
            del self._windows[next(iter(self._windows))]
        return window.take(counter)
