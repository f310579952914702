"""The places of members that are gone and have said that they come back: kept for as long as they said."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from swimring.swim import LAST_INCARNATION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.swim import Member


class Places:
    """Who is away, and until when its place is kept.

    A place is kept for one whose life ended, by a farewell, by a crash or by the start of its next life, if it said for
    how many seconds (`Standing.hold`). Holds at most one for each name that was a member.
    """

    def __init__(self) -> None:
        """Nobody is away."""
        self._until: dict[str, float] = {}

    @property
    def next_end(self) -> float:
        """When the first of them is over: an absolute time, infinity if there is none."""
        return min(self._until.values(), default=math.inf)

    def follow(self, before: Mapping[str, Member], records: Mapping[str, Member], *, now: float) -> None:
        """Those that took part were ``before``; ``records`` are all that are known now, the dead and gone included."""
        for name, member in before.items():
            record = records.get(name, member)
            if record is not member and (record.id != member.id or not record.status.active):
                self._keep(member if record.id != member.id else record, now=now)
        for name in self._until.keys() & records.keys():
            if not records[name].status.active and not _comes_back(records[name]):
                del self._until[name]

    def _keep(self, member: Member, *, now: float) -> None:
        if _comes_back(member):
            self._until[member.name] = now + member.metadata.standing.hold

    def forget(self, *, now: float) -> bool:
        """Drop those whose time is over; whether there were any."""
        over = [name for name, until in self._until.items() if until <= now]
        for name in over:
            del self._until[name]
        return bool(over)

    def absent(self, here: Mapping[str, Member]) -> frozenset[str]:
        """The names of those that are not ``here``."""
        return frozenset(self._until.keys() - here.keys())

    def kept_for(self, name: str, *, now: float) -> float:
        """Seconds left of the place of ``name``, 0 if there is none."""
        return max(0.0, self._until.get(name, now) - now)


def _comes_back(member: Member) -> bool:
    """Whether it said so, and no operator has said otherwise."""
    return member.metadata.standing.hold > 0 and member.incarnation != LAST_INCARNATION
