"""The line of those who wait for the credit that all streams of a connection share. Needs no event loop."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.mux import Session


class Writing(Protocol):
    """A stream whose writer may wait in line."""

    def on_credit(self) -> None:
        """Look again whether there is something to be sent with."""


class Writers:
    """Streams of one connection, in the order in which they came to wait.

    Credit wakes the first, which sends what it may and lets the next look. So a peer that returns its credit byte by
    byte costs one turn of one writer each time, however many wait; and nobody overtakes. Bounded by the streams of a
    connection, each of which has one writer.
    """

    __slots__ = ("_line", "_session", "blocked", "waiting")

    def __init__(self, session: Session, *, blocked: Callable[[float], None] | None = None) -> None:
        """Nobody waits; ``blocked`` is told how many seconds each wait for credit took, if somebody wants to know."""
        self._session = session
        self.blocked = blocked
        self.waiting = 0
        """How many wait for credit, that of their stream or that of the connection."""
        self._line: OrderedDict[Writing, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._line)

    def may_send(self, stream: Writing) -> bool:
        """Whether nobody is before ``stream``."""
        return not self._line or next(iter(self._line)) is stream

    def join(self, stream: Writing) -> bool:
        """Be in line, at its end if not there yet; False if ``stream`` may go ahead, as far as the connection goes."""
        self._line.setdefault(stream)
        return not (self._session.has_stream_credit and self.may_send(stream))

    def leave(self, stream: Writing) -> None:
        """``stream`` has had its turn, or needs none: the next one's."""
        if self._line and stream in self._line:
            del self._line[stream]
            self.nudge()

    def nudge(self) -> None:
        """Let the first in line look again, if there is credit."""
        if self._line and self._session.has_stream_credit:
            next(iter(self._line)).on_credit()
