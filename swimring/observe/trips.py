"""How long the last round trips to each member took, as far as this node has probed it."""

from __future__ import annotations

from typing import Final

from swimring.instrument import Instrument

MAX_MEMBERS: Final = 1_024
"""Members that are told apart; those that come later are not noted until others are forgotten."""

_WEIGHT: Final = 0.3
"""Of the newest trip in the average."""


class Trips(Instrument):
    """Give it to ``open_node(instruments=[trips])``."""

    timed = False

    def __init__(self) -> None:
        """Nobody has been probed."""
        self._seconds: dict[str, float | None] = {}

    def seconds(self) -> dict[str, float | None]:
        """The smoothed round trip to each member; None if nobody reached it the last time."""
        return dict(self._seconds)

    def probe_finished(self, name: str, rtt: float | None) -> None:
        """One more."""
        before = self._seconds.get(name)
        if name in self._seconds or len(self._seconds) < MAX_MEMBERS:
            self._seconds[name] = rtt if rtt is None or before is None else before + _WEIGHT * (rtt - before)

    def member_changed(self, name: str, status: str) -> None:
        """Nobody probes who is gone."""
        if status in {"dead", "left", "forgotten"}:
            self._seconds.pop(name, None)
