"""What must hold at every moment in every member of a crowd, checked at each change of belief and each datagram.

The rules, in the words of docs/spec/gossip.md: records only ever grow; only the owner makes a greater generation or
incarnation; a suspect is being waited for, and nobody else is; what is queued is what is believed; the application
hears joined and failed or left in turns; a datagram fits and says one thing of each member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from swimring.net import Datagrams
from swimring.swim import (
    DATAGRAM_BUDGET,
    Change,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    Status,
    decode_datagram,
    tag_key,
)

if TYPE_CHECKING:
    from swimring.identity import Address
    from swimring.swim import Member

    from .crowd import Crowd, Person

_KEY = tag_key("crowd")


class Vigilance:
    """Checks a crowd; what is broken ends the simulation with an error that says where."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._own: dict[str, tuple[int, int]] = {}
        self.broken: list[str] = []
        self.checked = 0
        crowd.tap = lambda name, datagrams: _Tap(name, datagrams, self)
        crowd.welcome = self._welcome

    def _welcome(self, person: Person) -> None:
        watched = _Watched(person, self)
        person.gossiper._beliefs.followers.append(watched.check)

    def claims(self, name: str) -> tuple[int, int]:
        """The greatest generation and incarnation that ``name`` has given itself."""
        person = self._crowd.people.get(name)
        own = self._own.get(name, (1, 1))
        if person is not None:
            me = person.gossiper.me
            own = max(own, (me.generation, me.incarnation))
        self._own[name] = own
        return own

    def born(self, name: str, me: Member) -> None:
        self._own[name] = max(self._own.get(name, (1, 1)), (me.generation, me.incarnation))

    def must(self, holds: bool, *what: object) -> None:
        self.checked += 1
        if not holds:
            self.broken.append(f"{trio.current_time():.3f} {' '.join(map(str, what))}")


class _Watched:
    """One member, in one life."""

    def __init__(self, person: Person, vigilance: Vigilance) -> None:
        self._name = person.name
        self._membership = person.gossiper._membership
        self._must = vigilance.must
        self._vigilance = vigilance
        self._seen: dict[str, tuple[int, int, Status]] = {}
        self._in: dict[str, bool] = {person.name: True}
        vigilance.born(person.name, person.gossiper.me)

    def check(self, change: Change) -> None:
        member, name = change.member, change.member.name
        if name == self._name:
            self._vigilance.born(name, member)
        record = self._membership.get(name)
        self._must(record is member, self._name, "tells", member, "and has", record)
        self._must(member.precedence >= self._seen.get(name, member.precedence), self._name, "went back on", member)
        self._seen[name] = member.precedence
        own = self._vigilance.claims(name)
        self._must((member.generation, member.incarnation) <= own, self._name, "made up", member, "of", own)
        suspicion = self._membership.suspicion(name)
        waited_for = member.status is Status.SUSPECT and name != self._name
        self._must((suspicion is not None) is waited_for, self._name, "waits for", suspicion, "with", member)
        self._must(suspicion is None or suspicion.suspect == member.id, self._name, "waits for", suspicion)
        queued = self._membership.rumours.get(name)
        self._must(queued is None or queued.member == member, self._name, "spreads", queued, "with", member)
        self._check_turns(change)

    def _check_turns(self, change: Change) -> None:
        name = change.member.name
        for event in change.events:
            here = self._in.get(name, False)
            match event:
                case MemberJoined():
                    self._must(not here, self._name, "was told twice that somebody joined:", event)
                    self._in[name] = True
                case MemberFailed():
                    self._must(here, self._name, "was told of a failure of who was not there:", event)
                    self._in[name] = False
                case MemberLeft():  # also says that a failure was a farewell
                    self._in[name] = False


class _Tap(Datagrams):
    """Reads what is sent."""

    def __init__(self, name: str, datagrams: Datagrams, vigilance: Vigilance) -> None:
        self._name = name
        self._datagrams = datagrams
        self._vigilance = vigilance

    async def send(self, payload: bytes, to: Address) -> None:
        must = self._vigilance.must
        must(len(payload) <= DATAGRAM_BUDGET, self._name, "sent", len(payload), "bytes")
        about = [rumour.member for rumour in decode_datagram(payload, key=_KEY).rumours]
        must(len({member.name for member in about}) == len(about), self._name, "said two things of one:", about)
        for member in about:
            own = self._vigilance.claims(member.name)
            must((member.generation, member.incarnation) <= own, self._name, "spread", member, "of", own)
        await self._datagrams.send(payload, to)

    async def receive(self) -> list[tuple[bytes, Address]]:
        return await self._datagrams.receive()

    def close(self) -> None:
        self._datagrams.close()
