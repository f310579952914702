"""What every node answers about itself, in the namespace ``swimring``: never routed, answered where it arrives.

Clients read the members and compute the rings from them; people read the same through the command line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from typing import TYPE_CHECKING, Any, Final, Protocol

from .errors import ConfigError, InvalidRequest, Unreachable
from .service import Request, Service
from .swim import FULL_SHARE, Phase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from .swim import Member

NAMESPACE: Final = "swimring"
MONITORING: Final = "monitoring"
"""What every node answers beside it, for monitors, unless its program offers a service of this name."""
_TOLD_AT_ONCE: Final = 128  # about 128 KiB at most: a small part of a message, and of the window of a stream


class Facts(Protocol):
    """What the built-in service asks of its node."""

    @property
    def name(self) -> str:
        """The node's name."""

    @property
    def cluster(self) -> str:
        """The cluster it belongs to."""

    @property
    def me(self) -> Member:
        """Its own record."""

    @property
    def points(self) -> int:
        """Points on the ring per unit of weight."""

    @property
    def members(self) -> Sequence[Member]:
        """Everybody this node knows of, itself included."""

    def member_events(self) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """Changes of the membership while the block runs, bounded: who is slow hears of many as of one."""

    def own_details(self) -> bytes:
        """What this node tells about itself that is too large for gossip, as CBOR."""

    def counters(self) -> dict[str, int]:
        """What this node has counted since it started."""

    def lag(self, name: str) -> float | None:
        """Seconds by which the timers of the member ``name`` are late, as it last told; None if it never has."""

    def report(self, about: Iterable[str], of: Mapping[str, Any]) -> dict[str, Any]:
        """How the node is at this moment, as plain values, with the parts ``about`` that there are."""

    def suspect_connection(self, name: str) -> None:
        """Somebody lost its connection to the member ``name``: find out at once whether it is there."""


class Keys(Protocol):
    """What the built-in service asks of the keyring of its node."""

    def ids(self) -> list[str]:
        """All keys, the primary one first."""

    def install(self, sealed: bytes) -> None:
        """Add the key in a box sealed under one of the ring."""

    def use(self, identity: str) -> None:
        """Seal with that key."""

    def remove(self, identity: str) -> None:
        """Forget that key."""


class Operations(Protocol):
    """What the built-in service does to its node when an operator says so."""

    @property
    def hand_off(self) -> Progress:
        """How far it is with handing its keys to others."""

    async def cordon(self) -> None:
        """Take no keys from now on."""

    async def uncordon(self) -> None:
        """Take keys again."""

    async def ask_to_drain(self) -> None:
        """Take no more keys and leave."""

    async def evict(self, name: str) -> None:
        """Declare the present life of another member dead."""

    def places_kept(self, name: str) -> float:
        """Seconds for which the place of that member is still kept, because it comes back."""


class Progress(Protocol):
    """What is told of a hand-off while it goes on."""

    def changes(self) -> AsyncIterator[HandOff]:
        """How far it is, now and whenever that changes, until it is over."""


class HandOff(Protocol):
    """How far a hand-off is."""

    @property
    def total(self) -> int:
        """Keys that were here."""

    @property
    def left(self) -> int:
        """Keys that are still here."""


def builtin_service(facts: Facts, keys: Keys | None = None, operations: Operations | None = None) -> Service:
    """The service that answers for ``facts``; ``keys`` are those of a node with a secret.

    Without ``operations`` it refuses what operators ask: the node has not joined yet.
    """
    service = Service(NAMESPACE)

    _answer_about_members(service, facts)

    @service.on("info", idempotent=True)
    async def info(request: Request) -> dict[str, Any]:
        """Who this node is and what it has counted."""
        return {"name": facts.name, "cluster": facts.cluster, "counters": facts.counters()}

    @service.on("details", idempotent=True)
    async def details(request: Request) -> bytes:
        """What this node tells about itself that is too large for gossip, as CBOR."""
        return facts.own_details()

    @service.on("statistics", idempotent=True)
    async def statistics(
        request: Request, *, about: list[str] | None = None, of: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """How this node is at this moment, for people; ``about`` names more parts, and ``of`` says more of them."""
        return facts.report(about or (), of or {})

    _answer_about_keys(service, keys)
    _answer_operators(service, facts, operations)

    @service.on("kept", idempotent=True)
    async def kept(request: Request, name: str) -> float:
        """Seconds for which the place of that member is still kept: it asks when it is back."""
        return 0.0 if operations is None else operations.places_kept(name)

    return service


def _answer_about_members(service: Service, facts: Facts) -> None:
    @service.on("follow", idempotent=True)
    async def follow(request: Request, *, changes: bool = True, lost: str = "") -> AsyncIterator[dict[str, Any]]:
        """What a client needs to compute every ring: first everybody, then, with ``changes``, what changes.

        It ends when this node leaves. ``lost`` is a member that the client could not reach or lost its connection to.
        Where clients talk to the owners directly, no other node may have a connection to that member, so nobody else
        would notice before its next probe.
        """
        facts.suspect_connection(lost)  # a name that nobody has is ignored
        async with facts.member_events() as events:
            told = _Told(facts)
            for piece in told.everybody():
                yield piece
            if not (changes and facts.me.status.active):
                return
            async for _event in events:
                leaving = not facts.me.status.active
                for piece in told.news():
                    yield piece
                if leaving:
                    return

    @service.on("members", idempotent=True)
    async def members(request: Request) -> list[dict[str, Any]]:
        """Every member as this node believes it to be, for people; ``lag`` is how late its timers are, in seconds."""
        return [{**describe(member), "lag": facts.lag(member.name)} for member in facts.members]


class _Told:
    """What one follower was told: what it is told next is the difference to now, however much happened between."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._members: dict[str, Member] = {}

    def everybody(self) -> Iterator[dict[str, Any]]:
        """All members, in pieces; the first says of which cluster and how their rings are made."""
        self._members = {member.name: member for member in self._facts.members}
        about: dict[str, Any] = {"cluster": self._facts.cluster, "points": self._facts.points}
        for piece in _pieces(list(self._members.values())):
            yield {**about, **piece}
            about = {}

    def news(self) -> Iterator[dict[str, Any]]:
        """Who is new or has changed, in pieces; the last says who was forgotten. Nothing, if nothing has changed."""
        before, self._members = self._members, {member.name: member for member in self._facts.members}
        changed = [member for name, member in self._members.items() if before.get(name) is not member]
        gone = sorted(before.keys() - self._members.keys())
        if changed or gone:
            for piece in _pieces(changed):
                yield piece if piece["more"] else {**piece, "gone": gone}


def _pieces(members: list[Member]) -> Iterator[dict[str, Any]]:
    """At least one, none with more than `_TOLD_AT_ONCE` members; all but the last say that there is more."""
    for start in range(0, max(len(members), 1), _TOLD_AT_ONCE):
        end = start + _TOLD_AT_ONCE
        yield {"members": [member.to_wire() for member in members[start:end]], "more": end < len(members)}


def _answer_about_keys(service: Service, keys: Keys | None) -> None:
    """Who may call them has proved the secret, unless the node takes calls without."""

    def ring() -> Keys:
        if keys is None:
            raise InvalidRequest("this node has no secret: start it with one (--secret-file)")
        return keys

    @service.on("keys", idempotent=True)
    async def list_keys(request: Request) -> list[str]:
        """The ids of the keys, the primary one first; never the keys."""
        return ring().ids()

    @service.on("add key", idempotent=True)
    async def add_key(request: Request, sealed: bytes) -> list[str]:
        """Open with another key, too; it comes sealed under one that this node has."""
        ring().install(sealed)
        return ring().ids()

    @service.on("use key", idempotent=True)
    async def use_key(request: Request, identity: str) -> list[str]:
        """Seal with that key from now on."""
        ring().use(identity)
        return ring().ids()

    @service.on("remove key", idempotent=True)
    async def remove_key(request: Request, identity: str) -> list[str]:
        """Open nothing with that key any more."""
        ring().remove(identity)
        return ring().ids()


def _answer_operators(service: Service, facts: Facts, operations: Operations | None) -> None:
    """Who may call them has proved the secret, unless the node takes calls without: as for the keys."""

    def node() -> Operations:
        if operations is None:
            raise InvalidRequest(f"{facts.name} waits for its cluster to form: it has no place yet")
        return operations

    @service.on("cordon", idempotent=True)
    async def cordon(request: Request) -> dict[str, Any]:
        """Take no keys from now on, and stay; the member as it is then."""
        await _or_refused(node().cordon())
        return describe(facts.me)

    @service.on("uncordon", idempotent=True)
    async def uncordon(request: Request) -> dict[str, Any]:
        """Take keys again; the member as it is then."""
        await _or_refused(node().uncordon())
        return describe(facts.me)

    @service.on("drain", idempotent=True)
    async def drain(request: Request) -> AsyncIterator[dict[str, int]]:
        """Take no more keys and leave; the keys that have still to go, as they do, until the farewell."""
        await node().ask_to_drain()
        async for hand_off in node().hand_off.changes():
            yield {"total": hand_off.total, "left": hand_off.left}

    @service.on("evict", idempotent=True)
    async def evict(request: Request, name: str) -> dict[str, Any]:
        """Declare the present life of another member dead, whatever it says; the member as it was."""
        evicted = next((member for member in facts.members if member.name == name), None)
        await _or_refused(node().evict(name))
        assert evicted is not None
        return describe(evicted)


async def _or_refused(done: Awaitable[None]) -> None:
    try:
        await done
    except (ConfigError, Unreachable) as error:
        reason = error.allowed if isinstance(error, ConfigError) else error.reason
        raise InvalidRequest(reason) from error


def describe(member: Member) -> dict[str, Any]:
    """A member in words: what `swimring members` shows."""
    return {
        "name": member.name,
        "address": str(member.address),
        "status": member.status.name.lower(),
        "generation": member.generation,
        "incarnation": member.incarnation,
        "services": list(member.metadata.services),
        "weight": member.metadata.weight,
        "takes": _takes(member),
        "zone": member.metadata.zone,
    }


def _takes(member: Member) -> str:
    """Which of its keys it takes, in a word or as a fraction."""
    standing = member.metadata.standing
    match standing.phase:
        case Phase.SERVING:
            return "all" if standing.share == FULL_SHARE else f"{standing.share}/{FULL_SHARE}"
        case Phase.CORDONED:
            return "cordoned"
        case Phase.DRAINING:
            return "draining"
        case _:
            return "none"
