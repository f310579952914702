"""One record per member; which rumour supersedes which; the state table.

Records of one name are ordered by (generation, incarnation, rank of the status): a rumour is applied if it is greater
than the record and is ignored otherwise. Merging is therefore commutative, associative and idempotent: order,
duplication and delay of rumours cannot matter. Only its owner makes a greater (generation, incarnation).
The table is written out in docs/spec/gossip.md.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from .awareness import Awareness
from .conflicts import Conflicts
from .digests import Checksum, Difference, compare
from .dissemination import Dissemination
from .events import (
    MemberEvent,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    MemberSuspected,
    MemberUpdated,
)
from .member import CHECKSUM_LIMIT, NUMBER_LIMIT, Member, Rumour, Status
from .messages import Ack
from .suspicion import Suspicion

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from swimring.identity import Address, NodeId

    from .config import Profile
    from .member import Metadata, Summary

_FORMER_ADDRESSES: Final = 1024
_ANSWER_INTERVAL: Final = 1.0
MEMBERS_LIMIT: Final = 65_536
LAST_INCARNATION: Final = NUMBER_LIMIT - 1
"""No record of a life can exceed one with this incarnation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a rumour changed, and what is to be done about it.

    Attributes:
        member: the record now.
        events: what the application learns.
        suspicion: begun, or confirmed so that its deadline is nearer: wait for that deadline.
        refuted: somebody was wrong about us; tell those who said it our record at once.
        evicted: an operator has declared this life of ours dead; we must stop.
        outbid: somebody runs under our name with a newer generation, or with numbers that cannot be exceeded; we must
            stop.
        hearsay: somebody's full state says that a member is dead which we believed in: find out.
    """

    member: Member
    events: tuple[MemberEvent, ...] = ()
    suspicion: Suspicion | None = None
    refuted: bool = False
    outbid: bool = False
    evicted: bool = False
    hearsay: bool = False


class Membership:
    """Everything one node believes about its cluster, itself included.

    Holds 65,536 records; of further names nothing is believed until tombstones are forgotten.
    """

    def __init__(self, *, me: Member, profile: Profile) -> None:
        """Start alone, as ``me``: alive, and joining until `joined`."""
        self._profile = profile
        self._me = me
        self._records: dict[str, Member] = {me.name: me}
        self._names: list[str] = [me.name]
        self._gone_since: dict[str, float] = {}
        self._suspicions: dict[str, Suspicion] = {}
        self._alone: dict[str, int] = {}
        self._former: OrderedDict[Address, None] = OrderedDict()
        self._snapshot: tuple[Member, ...] | None = None
        self._checksum = Checksum()
        self._checksum.put(me)
        self._active = 1
        self._answered = -_ANSWER_INTERVAL
        self._joining = True
        self._conflicts = Conflicts()
        self.rumours = Dissemination()
        self.health = Awareness(profile.health_limit)

    # ------------------------------------------------------------------------------------------------ looking

    @property
    def me(self) -> Member:
        """This node's own record."""
        return self._me

    @property
    def leaving(self) -> bool:
        """Whether this node has said farewell."""
        return self._me.status is Status.LEFT

    @property
    def members(self) -> tuple[Member, ...]:
        """All records, this node's included, sorted by name."""
        if self._snapshot is None:
            self._snapshot = tuple([self._records[name] for name in self._names])
        return self._snapshot

    @property
    def others(self) -> list[Member]:
        """All records but this node's own, sorted by name."""
        return [member for member in self.members if member.name != self._me.name]

    @property
    def active_count(self) -> int:
        """How many members are alive or suspect, this node included."""
        return self._active

    @property
    def former_addresses(self) -> tuple[Address, ...]:
        """Addresses of dead members that are forgotten by now (the latest 1,024): seeds, should they come back."""
        return tuple(self._former)

    @property
    def retransmit_limit(self) -> int:
        """How often a rumour is sent at the present size of the cluster."""
        return self._profile.retransmit_limit(self.active_count)

    def get(self, name: str) -> Member | None:
        """The record of the member ``name``."""
        return self._records.get(name)

    def gone_since(self, name: str) -> float:
        """When the local node came to believe that the member ``name`` is dead, or left; infinity if it takes part."""
        return self._gone_since.get(name, math.inf)

    def sample(self, rng: random.Random, count: int, wanted: Callable[[Member], bool]) -> list[Member]:
        """Up to ``count`` random records of others that are ``wanted``, all of them equally likely.

        It looks at few records when most are wanted, at all of them when few are.
        """
        chosen: dict[str, Member] = {}
        for _attempt in range(3 * count):
            if len(chosen) == count:
                return list(chosen.values())
            member = self._records[self._names[int(rng.random() * len(self._names))]]
            if member is not self._me and wanted(member):
                chosen[member.name] = member
        rest = [m for m in self._records.values() if m is not self._me and m.name not in chosen and wanted(m)]
        return [*chosen.values(), *rng.sample(rest, min(len(rest), count - len(chosen)))]

    def suspicion(self, name: str) -> Suspicion | None:
        """The running suspicion of the member ``name``."""
        return self._suspicions.get(name)

    @property
    def suspicions(self) -> tuple[Suspicion, ...]:
        """All running suspicions."""
        return tuple(self._suspicions.values())

    def state(self, *, now: float) -> list[Member]:
        """What a full-state exchange shows: everything but tombstones in the second half of their time."""
        fresh = self._fresh(now)
        return [member for member in self.members if self._gone_since.get(member.name, now) >= fresh]

    def _fresh(self, now: float) -> float:
        return now - self._profile.tombstone_retention / 2

    @property
    def checksum(self) -> int:
        """A number below 2^64 that is equal where everybody who takes part is believed to be the same."""
        return self._checksum.value

    def ack(self) -> Ack:
        """That we are here, how everybody looks from here, and how late our timers are."""
        return Ack(checksum=self.checksum, lag=self.health.lag)

    def told(self, record: Member) -> Rumour:
        """``record`` as a full-state exchange shows it: if it is suspected, with the name of who accused it first."""
        suspicion = self._suspicions.get(record.name)
        return Rumour(member=record, accuser="" if suspicion is None else suspicion.first_accuser)

    def digest(self, *, now: float) -> list[Summary]:
        """What `state` shows, a line each."""
        return [member.summary for member in self.state(now=now)]

    def checksum_of_all(self, *, now: float) -> int:
        """A number below 2^64 that is equal where `digest` is: of the dead and the left, too."""
        fresh = self._fresh(now)
        gone = [self._records[name].summary.fingerprint for name, since in self._gone_since.items() if since >= fresh]
        return (self.checksum + sum(gone)) % CHECKSUM_LIMIT

    def compare(self, digest: Iterable[Summary], *, now: float) -> Difference:
        """Which records the sender of ``digest`` lacks, and which ones we do."""
        return compare(digest, shown=self.state(now=now), known=self._records.get)

    # ------------------------------------------------------------------------------------------------ deciding

    def apply(self, rumour: Rumour, *, now: float) -> Change | None:
        """Believe ``rumour`` if it is news; None if it is not, or if its accuser overdoes it."""
        return None if self._is_overdone(rumour) else self._believe(rumour, now=now)

    def news_in(self, rumours: Iterable[Rumour]) -> list[Rumour]:
        """Those that `apply` might believe: everybody hears each rumour from many, so they are few."""
        known = self._records.get
        return [each for each in rumours if known(each.member.name) is not each.member or self._could_confirm(each)]

    def _could_confirm(self, rumour: Rumour) -> bool:
        if not rumour.accuser:
            return False
        suspicion = self._suspicions.get(rumour.member.name)
        return suspicion is not None and suspicion.hopes_for(rumour.accuser)

    def _believe(self, rumour: Rumour, *, now: float) -> Change | None:
        if rumour.member.name == self._me.name:
            return self._about_me(rumour.member, now=now)
        known = self._records.get(rumour.member.name)
        if known is None:
            return self._meet(rumour, now=now) if len(self._records) < MEMBERS_LIMIT else None
        if rumour.member.supersedes(known):
            return self._replace(known, rumour, now=now)
        if rumour.member.precedence == known.precedence:
            return self._corroborate(known, rumour, now=now)
        return None

    def merge(self, shown: Rumour, *, source: str = "", now: float) -> Change | None:
        """Believe a record from the full state of ``source`` if it is news.

        Hearsay of a death makes a suspect, with us as the accuser: it never kills. That of a suspicion names who
        accuses, or else that is us, too: it cannot forge confirmations.
        """
        record, me = shown.member, self._me.name
        known = self._records.get(record.name)
        if record.status is Status.DEAD and known is not None and known.status.active:
            return self._hear_of_death(record.turned(Status.SUSPECT), known, source=source, now=now)
        accuser = (shown.accuser or me) if record.status is Status.SUSPECT else ""
        return self.apply(Rumour(member=record, accuser=accuser), now=now)

    def _hear_of_death(self, suspect: Member, known: Member, *, source: str, now: float) -> Change | None:
        # Of those who have buried it nobody would ever confirm our suspicion, unless by telling us of its death.
        confirms = known.status is Status.SUSPECT and known.precedence == suspect.precedence
        accuser = (source if confirms else "") or self._me.name
        change = self._believe(Rumour(member=suspect, accuser=accuser), now=now)
        if suspect.name == self._me.name or suspect.precedence < known.precedence:
            return change
        return Change(member=known, hearsay=True) if change is None else replace(change, hearsay=True)

    def accuse(self, accused: Member, *, now: float) -> Change | None:
        """Suspect the member whose probe failed, as it was when the probe began."""
        return self._believe(Rumour(member=accused.turned(Status.SUSPECT), accuser=self._me.name), now=now)

    def _is_overdone(self, rumour: Rumour) -> bool:
        """Whether its accuser would be alone in suspecting more than half of the members: it is likely the one cut off.

        A real loss of that many is noticed by others as well, and whom others accuse too does not count.
        """
        known = self._records.get(rumour.member.name)
        accused = rumour.member.status is Status.SUSPECT and known is not None and known.status.active
        if not accused or not rumour.accuser or rumour.member.name == self._me.name:
            return False
        confirms = rumour.member.name in self._suspicions
        return not confirms and self._alone.get(rumour.accuser, 0) + 1 > max(2, self._active // 2)

    def declare_dead(self, suspicion: Suspicion, *, now: float) -> Change | None:
        """The time to speak up is over: dead, unless something newer is known meanwhile."""
        if self._suspicions.get(suspicion.suspect.name) is not suspicion:
            return None
        return self.bury(suspicion.suspect, now=now)

    def bury(self, casualty: NodeId, *, now: float) -> Change | None:
        """There is proof that this generation of a member is dead."""
        known = self._records.get(casualty.name)
        if known is None or known.id != casualty or not known.status.active:
            return None
        return self.apply(Rumour(member=known.turned(Status.DEAD)), now=now)

    def evict(self, name: str, *, now: float) -> Change | None:
        """An operator says that the present life of that member is over: dead, in a record that it cannot exceed."""
        known = self._records.get(name)
        if known is None or known is self._me or not known.status.active:
            return None
        return self.apply(Rumour(member=replace(known, status=Status.DEAD, incarnation=LAST_INCARNATION)), now=now)

    def forget(self, *, now: float) -> list[Member]:
        """Drop the tombstones whose time is over, and return them; the addresses of the dead stay seeds."""
        expired = now - self._profile.tombstone_retention
        gone = [member for member in self.others if self._gone_since.get(member.name, now) < expired]
        for member in gone:
            del self._records[member.name], self._gone_since[member.name]
            self.rumours.discard(member.name)
            if member.status is Status.DEAD:  # who left said so, and is not looked for
                self._former[member.address] = None
                self._former.move_to_end(member.address)
        while len(self._former) > _FORMER_ADDRESSES:
            self._former.popitem(last=False)
        if gone:
            self._names = sorted(self._records)
            self._snapshot = None
        return gone

    # ------------------------------------------------------------------------------------------------ ourselves

    def joined(self) -> None:
        """The first exchange with another member is complete: from now on our name is ours."""
        if self._joining:
            self._joining = False
            self.announce()

    def announce(self) -> None:
        """Spread our own record (again)."""
        self.rumours.put(Rumour(member=self._me))

    def update_metadata(self, metadata: Metadata, *, now: float) -> Change:
        """Tell everybody new things about us."""
        self._renew(self._me.generation, self._me.incarnation + 1, metadata=metadata, now=now)
        return Change(member=self._me, events=(MemberUpdated(member=self._me),))

    def leave(self, *, now: float) -> Change:
        """Say farewell: from now on nothing that is said about us is answered."""
        self._become(self._me.turned(Status.LEFT), now=now)
        return Change(member=self._me, events=(MemberLeft(member=self._me),))

    def _about_me(self, claim: Member, *, now: float) -> Change | None:
        mine = self._me
        if self.leaving or claim.generation < mine.generation:
            return None
        if claim.generation > mine.generation:
            return self._outbid(claim, now=now)
        if claim == mine or claim.incarnation < mine.incarnation:
            self._repeat(claim, now=now)
            return None
        return self._refute(claim, now=now)

    def _refute(self, claim: Member, *, now: float) -> Change | None:
        mine = self._me
        rival = claim.address != mine.address
        if rival and not self._may_answer(now):
            return None  # or two nodes that share name and generation would outbid each other for ever
        events = self._conflicts.between(mine, claim, now=now)
        if rival and claim.precedence == mine.precedence:
            return Change(member=mine, events=events) if events else None
        if claim.incarnation >= LAST_INCARNATION:
            return Change(member=mine, outbid=claim.status is Status.ALIVE, evicted=claim.status is not Status.ALIVE)
        self.health.adjust(+1)
        self._renew(mine.generation, claim.incarnation + 1, metadata=mine.metadata, now=now)
        return Change(member=self._me, events=events, refuted=True)

    def _repeat(self, claim: Member, *, now: float) -> None:
        # Who still says this has missed our answer: say it again, but not each time.
        missed = claim.status is Status.SUSPECT and self._me.name not in self.rumours
        if missed and self._may_answer(now):
            self.announce()

    def _may_answer(self, now: float) -> bool:
        if now - self._answered < _ANSWER_INTERVAL:
            return False
        self._answered = now
        return True

    def _outbid(self, claim: Member, *, now: float) -> Change:
        # An earlier life with a clock that ran ahead, while we are not known yet; a rival once we are.
        if not self._joining or claim.generation + 1 >= NUMBER_LIMIT:
            return Change(member=self._me, outbid=True)
        self._renew(claim.generation + 1, 1, metadata=self._me.metadata, now=now)
        return Change(member=self._me, events=(MemberUpdated(member=self._me),), refuted=True)

    def _renew(self, generation: int, incarnation: int, *, metadata: Metadata, now: float) -> None:
        self._become(replace(self._me, generation=generation, incarnation=incarnation, metadata=metadata), now=now)

    def _become(self, me: Member, *, now: float) -> None:
        self._me = me
        self._store(me, now=now)
        self.announce()

    # ------------------------------------------------------------------------------------------------ others

    def _meet(self, rumour: Rumour, *, now: float) -> Change:
        member = rumour.member
        self._store(member, now=now)
        if not member.status.active:
            # A tombstone of somebody we never knew is remembered and not passed on: else the backlog of all nodes
            # would never empty (foca issue 19).
            return Change(member=member)
        self.rumours.put(rumour)
        return Change(member=member, events=(MemberJoined(member=member),), suspicion=self._suspect(rumour, now=now))

    def _replace(self, known: Member, rumour: Rumour, *, now: float) -> Change:
        member = rumour.member
        self._store(member, now=now)
        self.rumours.put(rumour)
        if known.precedence == member.precedence:
            told = _updates(known, member) if member.status.active else ()
            return Change(member=member, events=self._conflicts.between(member, known, now=now) or told)
        return Change(member=member, events=_events(known, member), suspicion=self._suspect(rumour, now=now))

    def _corroborate(self, known: Member, rumour: Rumour, *, now: float) -> Change | None:
        if rumour.member is not known and rumour.member != known:
            events = self._conflicts.between(known, rumour.member, now=now)
            return Change(member=known, events=events) if events else None
        suspicion = self._suspicions.get(known.name)
        if suspicion is None or not rumour.accuser or not self._confirm(suspicion, rumour.accuser):
            return None
        self.rumours.put(rumour)
        return Change(member=known, suspicion=suspicion)

    def _suspect(self, rumour: Rumour, *, now: float) -> Suspicion | None:
        member = rumour.member
        over = self._suspicions.pop(member.name, None)
        if over is not None and over.confirmations == 0:
            self._count_alone(over.first_accuser, -1)
        if member.status is not Status.SUSPECT:
            return None
        accuser = rumour.accuser or self._me.name
        self._count_alone(accuser, +1)
        suspicion = self._suspicions[member.name] = Suspicion(
            suspect=member.id,
            incarnation=member.incarnation,
            accuser=accuser,
            now=now,
            members=self.active_count,
            profile=self._profile,
        )
        return suspicion

    def _confirm(self, suspicion: Suspicion, accuser: str) -> bool:
        if not suspicion.confirm(accuser):
            return False
        if suspicion.confirmations == 1:
            self._count_alone(suspicion.first_accuser, -1)
        return True

    def _count_alone(self, accuser: str, change: int) -> None:
        """In so many more suspicions ``accuser`` is alone; counted here, as going through all of them takes long."""
        count = self._alone.pop(accuser, 0) + change
        if count:
            self._alone[accuser] = count

    def _store(self, member: Member, *, now: float) -> None:
        before = self._records.get(member.name)
        self._active += member.status.active - (before is not None and before.status.active)
        self._records[member.name] = member
        if before is None:
            insort(self._names, member.name)
        if member.status.active:
            self._gone_since.pop(member.name, None)
        elif before is None or (before.status, before.generation) != (member.status, member.generation):
            self._gone_since[member.name] = now
        self._checksum.put(member)
        self._snapshot = None


def _events(before: Member, after: Member) -> tuple[MemberEvent, ...]:
    """What the application learns when ``after``, of greater precedence, takes the place of ``before``."""
    if not before.status.active:
        if after.status.active:
            return (MemberJoined(member=after),)
        farewell = before.status is Status.DEAD and after.status is Status.LEFT
        return (MemberLeft(member=after),) if farewell else ()
    if after.status is Status.DEAD:
        return (MemberFailed(member=after),)
    if after.status is Status.LEFT:
        return (MemberLeft(member=after),)
    return (*_turns(before, after), *_updates(before, after))


def _turns(before: Member, after: Member) -> tuple[MemberEvent, ...]:
    if after.status is before.status:
        return ()
    return (MemberSuspected(member=after),) if after.status is Status.SUSPECT else (MemberRecovered(member=after),)


def _updates(before: Member, after: Member) -> tuple[MemberEvent, ...]:
    told = (before.generation, before.address, before.metadata)
    return (MemberUpdated(member=after),) if told != (after.generation, after.address, after.metadata) else ()
