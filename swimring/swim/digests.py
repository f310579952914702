"""What two members compare before they exchange records: a line per record, and one number for all of them.

A summary tells which of two records supersedes without the record itself, in some 25 bytes. The checksum is the sum of
the fingerprints of everybody who takes part: it does not depend on an order, and a changed record changes it by a
subtraction and an addition. Tombstones are not in it: each member forgets them at a time of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swimring.errors import RemoteProtocolError

from .member import CHECKSUM_LIMIT, Summary, name_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .config import Profile
    from .member import Member

QUIET_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What two members do not have in common.

    Attributes:
        news: our records that the other one lacks or has in an older form.
        wanted: names of those the other one has in a newer form, or alone.
    """

    news: tuple[Member, ...]
    wanted: tuple[str, ...]


def compare(digest: Iterable[Summary], *, shown: Iterable[Member], known: Callable[[str], Member | None]) -> Difference:
    """Compare somebody's ``digest`` with our records.

    At equal precedence and other contents both sides show theirs, and both keep the same.

    Args:
        digest: what the other one has.
        shown: what we pass on to somebody who has never heard of it.
        known: every record of ours by name, those included that we do not pass on any more.
    """
    theirs = {summary.name: summary for summary in digest}
    news = [member for member in shown if member.name not in theirs]
    wanted = []
    for name, summary in theirs.items():
        member = known(name)
        mine = None if member is None else member.summary
        if member is None or mine is None:
            wanted.append(name)
        elif mine is not summary and mine != summary:
            news += [member] * (mine.precedence >= summary.precedence)
            wanted += [name] * (mine.precedence <= summary.precedence)
    return Difference(news=tuple(news), wanted=tuple(wanted))


class Checksum:
    """The sum of the fingerprints of all records that take part, kept up to date."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._counted: dict[str, int] = {}
        self._changed: dict[str, Member] = {}
        self._sum = 0

    def put(self, member: Member) -> None:
        """Take ``member`` in place of any other record of its name."""
        self._changed[member.name] = member

    @property
    def value(self) -> int:
        """A number below 2^64; equal for equal views, whatever the order in which they came about."""
        for member in self._changed.values():
            fingerprint = member.summary.fingerprint if member.status.active else 0
            self._sum = (self._sum + fingerprint - self._counted.pop(member.name, 0)) % CHECKSUM_LIMIT
            if fingerprint:
                self._counted[member.name] = fingerprint
        self._changed.clear()
        return self._sum


class Divergence:
    """Whether somebody's checksum is a reason to exchange states with it.

    Views differ all the time while rumours travel. They are compared when that is over: when nothing has changed here
    for two rounds of gossip and the other one has nothing to tell. If an exchange did not help, the next one waits
    twice as long, up to the push-pull interval: a view that cannot be reconciled must not cost a connection a second.
    """

    def __init__(self, profile: Profile) -> None:
        """Nothing has differed yet."""
        self._quiet = QUIET_ROUNDS * profile.gossip_interval
        self._longest = profile.push_pull_interval
        self._pause = self._quiet
        self._next = 0.0
        self._tried: int | None = None

    def calls_for_exchange(self, *, mine: int, theirs: int, quiet_since: float, now: float) -> bool:
        """Whether to exchange states now: at most once per pause.

        Args:
            mine: our checksum.
            theirs: that of the member we hear from.
            quiet_since: when our records changed last.
            now: on the local clock.
        """
        if mine == theirs or now - quiet_since < self._quiet or now < self._next:
            return False
        self._pause = min(2 * self._pause, self._longest) if mine == self._tried else self._quiet
        self._tried = mine
        self._next = now + self._pause
        return True


def digest_from(wire: object) -> tuple[Summary, ...]:
    """Read a digest.

    Raises:
        RemoteProtocolError: it is none.
    """
    if not isinstance(wire, list):
        raise RemoteProtocolError("digest: a list")
    return tuple([one if isinstance(one, Summary) else Summary.from_wire(one) for one in wire])


def names_from(wire: object) -> tuple[str, ...]:
    """Read the names of wanted records.

    Raises:
        RemoteProtocolError: these are none.
    """
    if not isinstance(wire, list):
        raise RemoteProtocolError("wanted: a list")
    return tuple(name_from(name) for name in wire)
