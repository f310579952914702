"""What two members compare before they exchange records: a line per record, and one number for all of them.

A summary tells which of two records supersedes without the record itself, in some 25 bytes. The checksum is the sum of
the fingerprints of everybody who takes part: it does not depend on an order, and a changed record changes it by a
subtraction and an addition. Tombstones are not in it: each member forgets them at a time of its own.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from swimring.codec import encode
from swimring.errors import RemoteProtocolError

from .member import NUMBER_LIMIT, Status, array, name_from, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from swimring.identity import Generation, Incarnation

    from .config import Profile
    from .member import Member

CHECKSUM_LIMIT: Final = 1 << 64
QUIET_ROUNDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One record, without its contents.

    Attributes:
        name: of the member.
        generation: which life of that name.
        incarnation: as in the record.
        status: as in the record.
        contents: 64 bits of BLAKE2b over address and metadata.
    """

    name: str
    generation: Generation
    incarnation: Incarnation
    status: Status
    contents: int
    _encoded: bytes = field(default=b"", init=False, repr=False, compare=False)
    _fingerprint: int = field(default=-1, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, member: Member) -> Summary:
        """The summary of ``member``."""
        return _summary(member)

    @property
    def precedence(self) -> tuple[Generation, Incarnation, Status]:
        """The order of records of one name."""
        return (self.generation, self.incarnation, self.status)

    @property
    def fingerprint(self) -> int:
        """64 bits that differ for any other record."""
        if self._fingerprint < 0:
            object.__setattr__(self, "_fingerprint", _hash(self.encoded))
        return self._fingerprint

    @property
    def encoded(self) -> bytes:
        """The bytes of `to_wire`, made once."""
        if not self._encoded:
            object.__setattr__(self, "_encoded", encode(self.to_wire()))
        return self._encoded

    def to_wire(self) -> list[object]:
        """The form in a digest: an array that grows at its end."""
        return [self.name, self.generation, self.incarnation, int(self.status), self.contents]

    @classmethod
    def from_wire(cls, wire: object) -> Summary:
        """Read what `to_wire` made, here or in a later version.

        Raises:
            RemoteProtocolError: it is not that.
        """
        items = array(wire, 5, "summary")
        try:
            return _read(*items)
        except TypeError as error:
            raise RemoteProtocolError("summary: texts and numbers") from error


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
        mine = None if member is None else Summary.of(member)
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
            fingerprint = Summary.of(member).fingerprint if member.status.active else 0
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


@functools.lru_cache(maxsize=8192)
def _summary(member: Member) -> Summary:
    contents = encode([member.address.host, member.address.port, member.metadata.to_wire()])
    return _read(member.name, member.generation, member.incarnation, int(member.status), _hash(contents))


@functools.lru_cache(maxsize=16_384, typed=True)  # typed: True is no 1
def _read(name: object, generation: object, incarnation: object, status: object, contents: object) -> Summary:
    """One and the same for equal lines: most of a digest is what we have ourselves."""
    return Summary(
        name=name_from(name),
        generation=number(generation, NUMBER_LIMIT, "generation"),
        incarnation=number(incarnation, NUMBER_LIMIT, "incarnation"),
        status=Status(number(status, len(Status), "status")),
        contents=number(contents, CHECKSUM_LIMIT, "contents"),
    )


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")


def digest_from(wire: object) -> tuple[Summary, ...]:
    """Read a digest.

    Raises:
        RemoteProtocolError: it is none.
    """
    if not isinstance(wire, list):
        raise RemoteProtocolError("digest: a list")
    return tuple(Summary.from_wire(summary) for summary in wire)


def names_from(wire: object) -> tuple[str, ...]:
    """Read the names of wanted records.

    Raises:
        RemoteProtocolError: these are none.
    """
    if not isinstance(wire, list):
        raise RemoteProtocolError("wanted: a list")
    return tuple(name_from(name) for name in wire)
