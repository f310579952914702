"""What happened in a cluster as one node saw it, in order: the last thousand entries.

An `Instrument` writes them, so that nothing between the start and the first reader is missing. Readers come with the
number of the last entry they have: who is slow finds out how many it missed, and costs nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from swimring.instrument import Instrument
from swimring.net import SystemHost

if TYPE_CHECKING:
    from swimring.net import Host

KEPT: Final = 1_000
"""Entries that are kept; the oldest goes first."""

_NEWS: Final = {
    "alive": ("join", "is here"),
    "suspect": ("suspect", "does not answer"),
    "dead": ("dead", "is dead"),
    "left": ("left", "said farewell"),
    "forgotten": ("forgotten", "is forgotten"),
}
_BACK: Final = {
    "suspect": ("refute", "spoke up: it is alive"),
    "dead": ("join", "is back"),
    "left": ("join", "is back"),
}
"""What it means that a member is alive, by what it was before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened.

    Attributes:
        number: counts from 1; none is left out.
        at: when, in milliseconds since 1970 by the clock of the node's machine.
        kind: join, suspect, refute, dead, left, forgotten, ring, gained, lost, drain, cordon, uncordon, share, duty.
        subject: the member or service it happened to.
        text: what happened, for people.
    """

    number: int
    at: int
    kind: str
    subject: str
    text: str


class Timeline(Instrument):
    """Give it to ``open_node(instruments=[timeline])``."""

    timed = False

    def __init__(self, host: Host | None = None) -> None:
        """Nothing has happened; ``host`` has the wall clock."""
        self._host = host or SystemHost()
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._statuses: dict[str, str] = {}
        self._news = trio.Event()
        self.last = 0
        """The number of the newest entry; 0 if there is none."""

    def put(self, kind: str, subject: str, text: str) -> None:
        """Write one entry."""
        self.last += 1
        entry = Entry(number=self.last, at=self._host.wall_ms(), kind=kind, subject=subject, text=text)
        self._entries.append(entry)
        news, self._news = self._news, trio.Event()
        news.set()

    def since(self, number: int) -> list[Entry]:
        """The entries that are kept of those after ``number``, in order."""
        missing = min(self.last - number, len(self._entries))
        return [self._entries[-index] for index in range(missing, 0, -1)]

    async def wait_news(self, number: int) -> None:
        """Wait until there is an entry after ``number``."""
        await trio.lowlevel.checkpoint()
        while self.last <= number:
            await self._news.wait()

    # --------------------------------------------------------------------------------------------- what happens

    def member_changed(self, name: str, status: str) -> None:
        """A member came, went, or is doubted."""
        before = self._statuses.pop(name, "forgotten")
        if status != "forgotten":
            self._statuses[name] = status
        kind, text = _BACK.get(before, _NEWS["alive"]) if status == "alive" else _NEWS[status]
        self.put(kind, name, f"{name} {text}")

    def ring_changed(self, service: str, version: str, nodes: int) -> None:
        """The ring of a service has another shape."""
        self.put("ring", service, f"the ring of {service} has {nodes} {'node' if nodes == 1 else 'nodes'} now")

    def duty_failed(self, duty: str, error: BaseException) -> None:
        """Something of the node itself crashed; its message may hold anything, so it is not told."""
        self.put("duty", duty, f"{duty} crashed with {type(error).__name__}, and is started again")
