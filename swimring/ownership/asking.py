"""Questions to one certain member, in the namespace ``swimring``, for as long as the membership believes it is here."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from swimring.errors import (
    CallError,
    HandlerFailed,
    InvalidRequest,
    LocalProtocolError,
    Moved,
    NodeClosed,
    NoSuchHandler,
    RemoteProtocolError,
    Unreachable,
)
from swimring.rpc import Outgoing
from swimring.swim import Member, Status

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

    from .rebalancer import MembershipView, Rebalancer

_log = logging.getLogger("swimring.ownership")

NAMESPACE: Final = "swimring"
MAX_RECORDS: Final = 64
_MOST_KNOWN: Final = 4_096
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


class DirectCalls(Protocol):
    """What makes the calls: `swimring.rpc.Routing`."""

    async def request_at(self, name: str, out: Outgoing) -> Any:
        """Make a call to the member ``name``, once; raises `CallError`."""


class Asking:
    """Asks members, and learns from what they refuse."""

    def __init__(
        self, me: str, *, membership: MembershipView, rings: Rebalancer, calls: DirectCalls, rng: random.Random
    ) -> None:
        """Ask as the member ``me``."""
        self.me: Final = me
        self._membership = membership
        self._rings = rings
        self._calls = calls
        self._rng = rng
        self._known: dict[str, object] = {}  # the last record that was learnt of each member
        self._found: tuple[int, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = -1, {}

    async def ask(self, name: str, cmd: str, fields: Mapping[str, object]) -> Any:
        """Ask once.

        Raises:
            CallError: there was no answer.
        """
        try:
            return await self._calls.request_at(name, Outgoing(NAMESPACE, cmd, None, fields, idempotent=True))
        except NodeClosed as error:
            raise Unreachable(f"{self.me} has left, and asks nobody any more", owner=name) from error
        except LocalProtocolError as error:  # larger than this node, or that one, takes messages
            raise InvalidRequest(str(error), owner=name) from error

    async def ask_until_gone(self, name: str, cmd: str, fields: Mapping[str, object]) -> Any:
        """Ask until there is an answer; None if the member is not here any more, or knows no such question.

        One that fails is asked again: it may hold what nobody else has.
        """
        pause = _FIRST_PAUSE
        named: set[str] = {self.me}
        while self.is_here(name):
            try:
                return await self.ask(name, cmd, {**fields, "records": self.records(named)})
            except NoSuchHandler:
                return None
            except Moved as refusal:
                named |= self.learn(refusal.records)
            except (InvalidRequest, HandlerFailed) as error:
                told = "%s cannot answer what is asked of it: %s"
                _log.warning(told, name, error, extra={"event": "peer.unable", "peer": name})
            except CallError:
                pass
            await self.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return None

    def is_here(self, name: str) -> bool:
        """Whether the membership believes that member to take part."""
        return self._rings.member(name) is not None

    def offering(self, service: str) -> tuple[str, ...]:
        """The members that offer ``service``, also those that take none of its keys."""
        return self._members(service)[0]

    def bringing(self, service: str) -> tuple[str, ...]:
        """Those of them who say that they have not brought all copies to where they belong."""
        return self._members(service)[1]

    def _members(self, service: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        sequence, found = self._found
        if sequence != self._rings.sequence:
            sequence, found = self._found = self._rings.sequence, {}
        if service not in found:
            there = [one for one in self._rings.snapshot.members.values() if service in one.metadata.services]
            bringing = tuple(one.name for one in there if one.metadata.standing.bringing)
            found[service] = tuple(one.name for one in there), bringing
        return found[service]

    async def wait(self, pause: float) -> None:
        """Until the rings change, at most about ``pause`` seconds."""
        with trio.move_on_after(pause * self._rng.uniform(0.5, 1.0)):
            await self._rings.wait_changed(self._rings.sequence)

    def records(self, names: Iterable[str]) -> list[list[object]]:
        """The records of those members, of the dead as well, for another node to learn from."""
        wanted = set(names)
        return [_wire_of(member) for member in self._membership.members if member.name in wanted][:MAX_RECORDS]

    def learn(self, records: Iterable[object]) -> set[str]:
        """Take in records that another node showed; the names in them. What is malformed is left out."""
        names = set()
        good = []
        for record in list(records)[:MAX_RECORDS]:
            name = self._name_if_known(record)
            if name is None:
                try:
                    name = self._note(Member.from_wire(record), record)
                except RemoteProtocolError:
                    continue
                good.append(record)
            names.add(name)
        if good:
            self._rings.apply(good)
        return names

    def _note(self, member: Member, record: object) -> str:
        """Remember the record of a member that is well: it shows the same one with each of its questions."""
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        if member.status is Status.ALIVE:
            self._known[member.name] = record
        return member.name

    def _name_if_known(self, record: object) -> str | None:
        """Whose record it is, if it is the last one that was learnt."""
        name = record[0] if isinstance(record, list) and record else None
        return name if isinstance(name, str) and self._known.get(name) == record else None


@functools.lru_cache(maxsize=_MOST_KNOWN)
def _wire_of(member: Member) -> list[object]:
    """Made once: it goes along with every question, and was an eighth of what these cost while a cluster grows."""
    return member.to_wire()
