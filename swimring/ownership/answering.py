"""What other nodes ask about keys, answered in the namespace ``swimring``: claim, replicate, offer.

Their bytes are in docs/spec/ownership.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from swimring.errors import ConfigError, InvalidRequest, Moved, RemoteProtocolError
from swimring.identity import Fence, key_bytes
from swimring.service import Request  # noqa: TC001 - annotations of handlers are evaluated

from .asking import MAX_RECORDS
from .claiming import CLOSE
from .fences import MAX_FENCE
from .holdings import Place, Verdict, Version, read_copy, read_place, read_version
from .inheriting import MAX_INHERITED, Inherited
from .questions import ALONE, MAX_BYTES, MAX_CLAIMS, MAX_OTHERS, REFUSED
from .spreading import MAX_OFFERED, Told

if TYPE_CHECKING:
    from swimring.service import Service

    from .asking import Asking
    from .holdings import Copy, Holdings
    from .past import PastRings
    from .rebalancer import Rebalancer
    from .renewing import Renewing
    from .rooms import Rooms
    from .scopes import Scopes
    from .spreading import Spreading

_Claim: TypeAlias = tuple[Place, int, Version | None]
_REMEMBERED: Final = 2  # replicas of the key that is claimed: who asks has asked about the others itself


class Answering:
    """Answers for the scopes and the copies of one node."""

    def __init__(
        self,
        *,
        asking: Asking,
        rings: Rebalancer,
        past: PastRings,
        holdings: Holdings,
        scopes: Scopes,
        rooms: Rooms,
        spreading: Spreading,
        renewing: Renewing,
    ) -> None:
        """Answer from these."""
        self._rooms = rooms
        self._renewing = renewing
        self._asking = asking
        self._rings = rings
        self._past = past
        self._holdings = holdings
        self._scopes = scopes
        self._spreading = spreading

    def register(self, service: Service) -> None:
        """Add the handlers to the built-in ``service``."""
        self._register_claims(service)
        self._register_copies(service)

    def _register_claims(self, service: Service) -> None:
        @service.on("claim", idempotent=True)
        async def claim(
            request: Request, service: str, subject: bytes, number: int, have: list[Any] | None, records: list[Any]
        ) -> list[Any]:
            """Give a key up, or promise that nothing older than this fence is kept here."""
            if not 0 <= number <= MAX_FENCE:
                raise InvalidRequest("a claim is out of bounds")
            place = _place(service, subject)
            self._asking.learn(records)
            self._refuse_unless_owner(place, request.peer)
            await self._close(place)
            self._refuse_unless_owner(place, request.peer)  # closing took a while
            newer = None if number == CLOSE else self._newer(place, _version(have))
            answer = self._answer(place, number, newer, request.peer)
            return [*answer, self._records_of_newcomers([answer])]

        @service.on("claims", idempotent=True)
        async def claims(request: Request, claims: list[Any], records: list[Any]) -> list[Any]:
            """The same about many keys, as far as it can be answered at once."""
            if len(claims) > MAX_CLAIMS:
                raise InvalidRequest(f"at most {MAX_CLAIMS} claims at once")
            read = [_read_claim(claim) for claim in claims]
            self._asking.learn(records)
            return self._answer_all(read, request.peer)

        @service.on("inherit", idempotent=True)
        async def inherit(request: Request, keys: list[Any], records: list[Any]) -> None:
            """Open these keys, which were called where they were until now, if they are ours."""
            if len(keys) > MAX_INHERITED:
                raise InvalidRequest(f"at most {MAX_INHERITED} keys at once")
            read = [_read_inherited(one) for one in keys]
            self._asking.learn(records)
            for name, key in read:
                self._rooms.inherit(name, key, last_owner=request.peer)

    def _register_copies(self, service: Service) -> None:
        @service.on("replicate", idempotent=True)
        async def replicate(request: Request, copies: list[Any]) -> list[list[int]]:
            """Keep these copies."""
            try:
                read = [read_copy(copy) for copy in copies]
            except RemoteProtocolError as error:
                raise InvalidRequest(str(error)) from error
            return [self._put(copy) for copy in read]

        @service.on("offer", idempotent=True)
        async def offer(request: Request, versions: list[Any], records: list[Any]) -> list[int]:
            """Which of these copies are missing here."""
            if len(versions) > MAX_OFFERED:
                raise InvalidRequest(f"at most {MAX_OFFERED} versions at once")
            self._asking.learn(records)
            return [self._judge(version, request.peer) for version in versions]

        @service.on("brought", idempotent=True)
        async def brought(request: Request) -> None:
            """Wait until this node has nothing to bring anywhere."""
            await trio.lowlevel.checkpoint()
            await self._spreading.wait_brought()

    # -------------------------------------------------------------------------------------------------- claims

    def _refuse_unless_owner(self, place: Place, claimer: str) -> None:
        owner = self._rings.owner(*place)
        if owner is not None and owner.name != claimer:
            records = self._asking.records({owner.name, claimer, self._asking.me})
            told = f"{self._asking.me} takes {owner.name} for the owner, not {claimer}"
            raise Moved(told, records=tuple(records), key=place[1], owner=self._asking.me)

    def _answer_all(self, claims: list[_Claim], claimer: str) -> list[Any]:
        answers: list[Any] = []
        owners: set[str] = set()
        room = MAX_BYTES
        for place, number, have in claims:
            owner = self._rings.owner(*place)
            if owner is not None and owner.name != claimer:
                owners.add(owner.name)
                answers.append(REFUSED)
                continue
            newer = self._newer(place, have) if self._is_closed(place) and number != CLOSE else None
            size = 0 if newer is None else newer.cost
            if size > room or not self._is_closed(place):
                answers.append(ALONE)
                continue
            room -= size
            answers.append(self._answer(place, number, newer, claimer))
        records = self._asking.records({*owners, claimer, self._asking.me}) if owners else []
        told = [answer for answer in answers if answer not in (REFUSED, ALONE)]
        return [answers, (records + self._records_of_newcomers(told))[:MAX_RECORDS]]

    def _is_closed(self, place: Place) -> bool:
        """Whether no scope is open, after the one that was has been told to end: most end at once."""
        scope = self._scopes.get(place)
        if scope is not None:
            self._scopes.lose(scope)
        return scope is None or not scope.is_keeping

    async def _close(self, place: Place) -> None:
        scope = self._scopes.get(place)
        if scope is not None:
            self._scopes.lose(scope)
            await scope.closed.wait()

    def _answer(self, place: Place, number: int, newer: Copy | None, claimer: str) -> list[Any]:
        others = self._others(place, number, claimer)  # before the promise makes us forget whose fence was the last
        seen = self._promise(place, Fence(number, claimer))
        return [seen, None if newer is None else newer.to_wire(), others]

    def _promise(self, place: Place, fence: Fence) -> int:
        """The greatest number seen before this claim; if that is not less than its own, nothing was promised."""
        known = self._holdings.promised(place)
        if known == fence:
            return fence.number - 1  # it is asked again, because our answer was lost
        if fence.number != CLOSE:
            self._holdings.promise(place, fence)
        return known.number

    def _newer(self, place: Place, have: Version | None) -> Copy | None:
        copy = self._holdings.get(place)
        return copy if copy is not None and (have is None or copy.version > have) else None

    def _others(self, place: Place, number: int, claimer: str) -> list[str]:
        """Whom to ask as well: who may have it open, or, when it is about copies, who may hold one."""
        copy = self._holdings.get(place)
        replicas = _REMEMBERED if copy is None else copy.replicas
        past = self._past
        last = self._holdings.promised(place).owner  # whom no ring may lead to: it is not the one to be left out
        names = dict.fromkeys([last] if last else [])
        names.update(dict.fromkeys(past.owners(*place) if number == CLOSE else past.holders(*place, replicas)))
        return [name for name in names if name not in (claimer, self._asking.me)][:MAX_OTHERS]

    def _records_of_newcomers(self, answers: list[list[Any]]) -> list[list[object]]:
        """Who asks may not have heard of all whom we name, and would take those for gone."""
        named = {name for *_, others in answers for name in others}
        new = self._past.newcomers(now=trio.current_time()) & named if named else named
        return self._asking.records(new) if new else []

    # -------------------------------------------------------------------------------------------------- copies

    def _put(self, copy: Copy) -> list[int]:
        verdict = self._holdings.put(copy)
        keeps = self._keeps(copy.place, copy.version) is Told.KEEPS
        if verdict is Verdict.HELD:
            if copy.fence.owner != self._asking.me:
                self._scopes.supersede(copy.place, copy.fence)
            service, key = copy.place
            if self._asking.me not in self._rings.ring(service).owners(key, copy.replicas + 1)[1:]:
                # Ours, for our replicas, unless we checkpoint before; or that of others, who came to us by an old ring.
                self._spreading.touch(copy.place, later=True)
        return [int(verdict), self._holdings.promised(copy.place).number, int(keeps)]

    def _judge(self, version: Any, holder: str) -> int:
        match version:
            case [str(service), bytes(key), number, owner, sequence, *_]:
                place = _place(service, key)
            case _:
                raise InvalidRequest("a malformed version")
        try:
            offered = read_version(number, owner, sequence)
        except RemoteProtocolError as error:
            raise InvalidRequest(str(error)) from error
        told = self._keeps(place, offered)
        if told is None:
            told = Told.REFUSES if offered[0] < self._holdings.promised(place) else Told.WANTS
            if told is Told.REFUSES:
                self._renewing.refused(place, holder)
        return int(told)

    def _keeps(self, place: Place, version: Version) -> Told | None:
        """Whether that version or a later one stays here by our ring, or is only here still; None if it is not."""
        held = self._holdings.get(place)
        if held is None or held.version < version:
            return None
        ring = self._rings.ring(place[0])
        keepers = ring.owners_at(self._holdings.position(place, ring), held.replicas + 1)
        return Told.KEEPS if self._asking.me in keepers else Told.HOLDS


def _read_claim(claim: Any) -> _Claim:
    match claim:
        case [str(service), bytes(subject), int(number), None | list() as have, *_] if 0 <= number <= MAX_FENCE:
            return _place(service, subject), number, _version(have)
    raise InvalidRequest("a malformed claim")


def _read_inherited(one: Any) -> Inherited:
    match one:
        case [str(service), str() | bytes() as key, *_]:
            try:
                key_bytes(key)
            except ConfigError as error:
                raise InvalidRequest(str(error)) from error
            return service, key
    raise InvalidRequest("a malformed key")


def _place(service: str, key: bytes) -> Place:
    try:
        return read_place(service, key)
    except RemoteProtocolError as error:
        raise InvalidRequest(str(error)) from error


def _version(have: list[Any] | None) -> Version | None:
    if have is None:
        return None
    match have:
        case [number, owner, sequence, *_]:
            try:
                return read_version(number, owner, sequence)
            except RemoteProtocolError as error:
                raise InvalidRequest(str(error)) from error
    raise InvalidRequest("a malformed version")
