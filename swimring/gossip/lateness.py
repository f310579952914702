"""How late the timers of this process are, measured all the time: a blocked event loop blocks no certain moment.

The rounds of probing alone would see only what still goes on when one of them ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from swimring.swim import Membership, Profile

_TICKS: Final = 4
"""In a probe interval: what blocks the loop for longer than one of them is seen, by all that is longer."""


class Lateness:
    """Looks at the clock now and then."""

    def __init__(self, membership: Membership, profile: Profile) -> None:
        """Tell it to the local health of ``membership``."""
        self._health = membership.health
        self._interval = profile.probe_interval / _TICKS

    async def run(self) -> None:
        """Measure, for ever."""
        while True:
            due = trio.current_time() + self._interval
            await trio.sleep_until(due)
            self._health.note_late(trio.current_time() - due)
