"""What happened in a simulated cluster, in words: the faults in order, and the last events of each node.

A failing test shows both: `History.faults` as a list, `History.timeline` with the nodes side by side.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KEPT_FAULTS: Final = 200
_KEPT_EVENTS: Final = 50
_SHOWN: Final = 12
_WIDEST: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One event.

    Attributes:
        at: when, in virtual seconds; in a cluster of real processes in seconds since it was opened.
        node: to which node; empty for what was done to the cluster.
        text: what, in a few words.
    """

    at: float
    node: str
    text: str


class History:
    """The last 200 faults and the last 50 events of each node; older ones are dropped."""

    def __init__(self, *, began: float = 0.0) -> None:
        """Nothing happened yet; ``began`` is when Trio's clock showed the zero of this history."""
        self._began = began
        self._faults: deque[Happening] = deque(maxlen=_KEPT_FAULTS)
        self._events: dict[str, deque[Happening]] = {}

    @property
    def faults(self) -> tuple[Happening, ...]:
        """What was done to the cluster, oldest first."""
        return tuple(self._faults)

    def events(self, node: str) -> tuple[Happening, ...]:
        """The last events of one node, oldest first."""
        return tuple(self._events.get(node, ()))

    def note_fault(self, text: str) -> None:
        """Something was done to the cluster, now."""
        self._faults.append(Happening(at=trio.current_time() - self._began, node="", text=text))

    def note(self, node: str, text: str) -> None:
        """Something happened to ``node``, now."""
        events = self._events.setdefault(node, deque(maxlen=_KEPT_EVENTS))
        events.append(Happening(at=trio.current_time() - self._began, node=node, text=text))

    @contextlib.contextmanager
    def during(self, text: str) -> Iterator[None]:
        """A fault is in force within the block."""
        self.note_fault(text)
        try:
            yield
        finally:
            self.note_fault(f"end of: {text}")

    def schedule(self) -> list[str]:
        """The faults, a line each."""
        return [f"{one.at:10.3f} s  {one.text}" for one in self._faults]

    def timeline(self) -> list[str]:
        """The last 12 events of every node in the order of their time, a column for each node."""
        shown = [one for events in self._events.values() for one in list(events)[-_SHOWN:]]
        shown.sort(key=lambda one: one.at)
        names = list(self._events)
        width = max([len(name) for name in names] + [len(one.text) for one in shown], default=0)
        return _table(shown, names, min(width, _WIDEST))


def _table(shown: Sequence[Happening], names: Sequence[str], width: int) -> list[str]:
    def line(when: str, column: int, text: str) -> str:
        cells = [text[:width] if index == column else "." for index in range(len(names))]
        return "  ".join([when, *(cell.ljust(width) for cell in cells)]).rstrip()

    head = "  ".join([" " * 12, *(name.ljust(width) for name in names)]).rstrip()
    return [head, *(line(f"{one.at:10.3f} s", names.index(one.node), one.text) for one in shown)]
