"""What happened in a simulated cluster, in words: the faults in order, and the last events of each node.

A failing test shows both: `History.faults` as a list, `History.timeline` with the nodes side by side.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_KEPT_FAULTS: Final = 200
_KEPT_EVENTS: Final = 50
_SHOWN: Final = 12
_COLUMNS: Final = 6
_PAGE: Final = 118
_WHEN: Final = 12
_NARROWEST: Final = 8


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
        self._in_force = 0
        self._stirred_at = began
        self.on_fault: Callable[[], object] = _nothing
        """Called whenever something is done to the cluster."""

    @property
    def quiet_for(self) -> float:
        """Seconds since anything was done to the cluster; 0 while a fault is in force."""
        return 0.0 if self._in_force else trio.current_time() - self._stirred_at

    def stir(self) -> None:
        """Something was done that is not worth a line: it is not quiet any more."""
        self._stirred_at = trio.current_time()
        self.on_fault()

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
        self.stir()

    def note(self, node: str, text: str) -> None:
        """Something happened to ``node``, now."""
        events = self._events.setdefault(node, deque(maxlen=_KEPT_EVENTS))
        events.append(Happening(at=trio.current_time() - self._began, node=node, text=text))

    @contextlib.contextmanager
    def during(self, text: str) -> Iterator[None]:
        """A fault is in force within the block."""
        self._in_force += 1
        self.note_fault(text)
        try:
            yield
        finally:
            self._in_force -= 1
            self.note_fault(f"end of: {text}")

    def schedule(self) -> list[str]:
        """The faults, a line each."""
        return [f"{one.at:10.3f} s  {one.text}" for one in self._faults]

    def timeline(self) -> list[str]:
        """The last 12 events of every node in the order of their time, a column for each node.

        More than 6 nodes have a table for every 6 of them; what is wider than its column goes on below.
        """
        names = list(self._events)
        tables = [self._table(names[first : first + _COLUMNS]) for first in range(0, len(names), _COLUMNS)]
        return [line for table in tables for line in ("", *table)][1:]

    def _table(self, names: Sequence[str]) -> list[str]:
        shown = [one for name in names for one in list(self._events[name])[-_SHOWN:]]
        shown.sort(key=lambda one: one.at)
        widest = max([len(name) for name in names] + [len(one.text) for one in shown])
        width = min(widest, max(_NARROWEST, (_PAGE - _WHEN) // len(names) - 2))
        return _table(shown, names, width)


def _nothing() -> None:
    """Nobody wants to know."""


def _table(shown: Sequence[Happening], names: Sequence[str], width: int) -> list[str]:
    def line(when: str, cells: Sequence[str]) -> str:
        return "  ".join([when, *(cell.ljust(width) for cell in cells)]).rstrip()

    lines = [line(" " * _WHEN, names)]
    for one in shown:
        for number, part in enumerate(textwrap.wrap(one.text, width)):
            when, others = (f"{one.at:10.3f} s", ".") if number == 0 else (" " * _WHEN, "")
            lines.append(line(when, [part if name == one.node else others for name in names]))
    return lines
