"""How long a suspect has to speak up (Lifeguard, LHA-Suspicion; arXiv 1707.00788 section IV-B).

The more members accuse independently, the shorter: from the longest wait without any confirmation down to the
shortest with all that were hoped for. Whoever accuses first is not a confirmation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swimring.identity import Incarnation, NodeId

    from .config import Profile


def shortest_suspicion(profile: Profile, members: int) -> float:
    """Seconds a suspect has at least in a cluster of ``members``: alpha * max(1, log10 n) * probe interval."""
    scale = max(1.0, math.floor(math.log10(max(1, members)) * 1000) / 1000)
    return profile.suspicion_alpha * scale * profile.probe_interval


def hoped_confirmations(profile: Profile, members: int) -> int:
    """How many confirmations can be hoped for: those but the suspect and the first accuser; none up to 3."""
    return 0 if members <= 3 else min(profile.suspicion_confirmations, members - 2)


def suspicion_after(confirmations: int, hoped: int, shortest: float, longest: float) -> float:
    """Seconds a suspect has in all, with ``confirmations`` out of ``hoped`` ones: falls with their logarithm."""
    if hoped < 1:
        return shortest
    share = math.log(confirmations + 1) / math.log(hoped + 1)
    return max(shortest, math.floor((longest - (longest - shortest) * share) * 1000) / 1000)


class Suspicion:
    """One accusation of one incarnation of a member, and who joined in."""

    def __init__(
        self, *, suspect: NodeId, incarnation: Incarnation, accuser: str, now: float, members: int, profile: Profile
    ) -> None:
        """Begin at ``now``; ``accuser`` is a member's name and never counts as its own confirmation."""
        self.suspect = suspect
        self.incarnation = incarnation
        self.started = now
        self.first_accuser = accuser
        self._accusers = {accuser}
        self._hoped = hoped_confirmations(profile, members)
        self._shortest = shortest_suspicion(profile, members)
        self._longest = profile.suspicion_beta * self._shortest

    @property
    def accusers(self) -> frozenset[str]:
        """The names of those who accuse, the first one included."""
        return frozenset(self._accusers)

    @property
    def confirmations(self) -> int:
        """How many accusers joined the first one."""
        return len(self._accusers) - 1

    @property
    def deadline(self) -> float:
        """When the suspect is dead unless it speaks up; a confirmation draws it nearer."""
        return self.started + suspicion_after(self.confirmations, self._hoped, self._shortest, self._longest)

    def hopes_for(self, accuser: str) -> bool:
        """Whether that accuser would be news: not heard before, while confirmations still count."""
        return len(self._accusers) <= self._hoped and accuser not in self._accusers

    def confirm(self, accuser: str) -> bool:
        """Take another accusation; True if it is news."""
        if not self.hopes_for(accuser):
            return False
        self._accusers.add(accuser)
        return True

    def __repr__(self) -> str:
        return f"<Suspicion of {self.suspect} by {', '.join(sorted(self._accusers))} until {self.deadline:.3f}>"
