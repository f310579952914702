"""What every node answers about itself, in the namespace ``swimring``: never routed, answered where it arrives.

Clients read the members and compute the rings from them; people read the same through the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from .errors import InvalidRequest
from .service import Request, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .swim import Member

NAMESPACE: Final = "swimring"


class Facts(Protocol):
    """What the built-in service asks of its node."""

    @property
    def name(self) -> str:
        """The node's name."""

    @property
    def cluster(self) -> str:
        """The cluster it belongs to."""

    @property
    def points(self) -> int:
        """Points on the ring per unit of weight."""

    @property
    def members(self) -> Sequence[Member]:
        """Everybody this node knows of, itself included."""

    def own_details(self) -> bytes:
        """What this node tells about itself that is too large for gossip, as CBOR."""

    def counters(self) -> dict[str, int]:
        """What this node has counted since it started."""

    def lag(self, name: str) -> float | None:
        """Seconds by which the timers of the member ``name`` are late, as it last told; None if it never has."""

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


def builtin_service(facts: Facts, keys: Keys | None = None) -> Service:
    """The service that answers for ``facts``; ``keys`` are those of a node with a secret."""
    service = Service(NAMESPACE)

    @service.on("ring", idempotent=True)
    async def ring(request: Request, *, lost: str = "") -> dict[str, Any]:
        """What a client needs to compute every ring: the members, in their wire form, and the ring's parameters.

        ``lost`` is a member that the client could not reach or lost its connection to. Where clients talk to the owners
        directly, no other node may have a connection to that member, so nobody else would notice before its next probe.
        """
        if lost:
            facts.suspect_connection(lost)
        return {
            "cluster": facts.cluster,
            "points": facts.points,
            "members": [member.to_wire() for member in facts.members],
        }

    @service.on("members", idempotent=True)
    async def members(request: Request) -> list[dict[str, Any]]:
        """Every member as this node believes it to be, for people; ``lag`` is how late its timers are, in seconds."""
        return [{**describe(member), "lag": facts.lag(member.name)} for member in facts.members]

    @service.on("info", idempotent=True)
    async def info(request: Request) -> dict[str, Any]:
        """Who this node is and what it has counted."""
        return {"name": facts.name, "cluster": facts.cluster, "counters": facts.counters()}

    @service.on("details", idempotent=True)
    async def details(request: Request) -> bytes:
        """What this node tells about itself that is too large for gossip, as CBOR."""
        return facts.own_details()

    _answer_about_keys(service, keys)
    return service


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
        "zone": member.metadata.zone,
    }
