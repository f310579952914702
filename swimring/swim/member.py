"""One record: what somebody believes about a member, how it is ordered, and its form on the wire."""

from __future__ import annotations

import enum
import functools
import hashlib
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from swimring.codec import decode, encode
from swimring.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from swimring.identity import MAX_NAME_CHARACTERS, Address, Generation, Incarnation, NodeId, check_name, is_host

from .standing import ORDINARY, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

METADATA_LIMIT: Final = 512
DETAILS_DIGEST_SIZE: Final = 8
NUMBER_LIMIT: Final = 1 << 62
CHECKSUM_LIMIT: Final = 1 << 64
RING_WEIGHT_LIMIT: Final = 128
"""A greater weight counts as this one: a ring is computed from what strangers gossip, so what they ask is bounded."""
_RECORD_WITH_ACCUSER: Final = b"\x88"  # an array of 8; without it is one of 7
_STANDING_AT: Final = 1  # in ``further``; item 0 has its place for versions, docs/spec/gossip.md


class Status(enum.IntEnum):
    """What a member is believed to be; the number is its rank when generation and incarnation are equal."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3

    active: bool
    """Whether the member takes part: a suspect still does."""
    word: str
    """The status as users read it."""

    def __init__(self, rank: int) -> None:
        self.active = rank <= 1
        self.word = self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a member tells about itself; at most 512 bytes when encoded, because every rumour carries it.

    Attributes:
        services: names of the services it offers; kept sorted.
        weight: its share of the rings relative to others; 0 owns nothing.
        zone: where it is, for placing replicas.
        version: which software it runs.
        tags: anything else that is small.
        details: the hash of what is larger (`Details.digest`), which is fetched from the member; empty if there is
            nothing.
        further: CBOR of an array: the `standing`, and what a later version has to say, passed on as it came; empty if
            there is nothing.

    Raises:
        ConfigError: a value is of the wrong kind, or all together are too large.
    """

    services: tuple[str, ...] = ()
    weight: int = 1
    zone: str = ""
    version: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    details: bytes = b""
    further: bytes = b""

    def __post_init__(self) -> None:
        for service in self.services:
            check_name(service, setting="metadata.services")
        if type(self.weight) is not int or not 0 <= self.weight <= 65535:
            raise ConfigError("metadata.weight", self.weight, "a weight is a whole number from 0 to 65535")
        texts: tuple[object, ...] = (self.zone, self.version, *self.tags.keys(), *self.tags.values())
        if not all(isinstance(each, str) for each in texts):
            raise ConfigError("metadata", texts, "zone, version, names and values of tags are text")
        if type(self.details) is not bytes or len(self.details) not in {0, DETAILS_DIGEST_SIZE}:
            raise ConfigError("metadata.details", self.details, f"a hash has {DETAILS_DIGEST_SIZE} bytes")
        _ = self.standing
        object.__setattr__(self, "services", tuple(sorted(set(self.services))))
        object.__setattr__(self, "tags", MappingProxyType(dict(sorted(self.tags.items()))))
        try:
            size = len(encode(self.to_wire()))
        except LocalProtocolError as error:
            raise ConfigError("metadata", str(error), "text must be valid Unicode") from error
        if size > METADATA_LIMIT:
            raise ConfigError("metadata", f"{size} bytes", f"at most {METADATA_LIMIT} bytes when encoded")

    def __hash__(self) -> int:
        return hash(
            (self.services, self.weight, self.zone, self.version, tuple(self.tags.items()), self.details, self.further)
        )

    @property
    def standing(self) -> Standing:
        """How much of its keys it takes at the moment."""
        return _standing_in(self.further) if self.further else ORDINARY

    @property
    def ring_weight(self) -> float:
        """Its weight on the rings: ``weight``, or less while it takes less than that, in sixteenths."""
        return self.standing.weight(min(self.weight, RING_WEIGHT_LIMIT))

    def with_standing(self, standing: Standing) -> Metadata:
        """The same with another standing.

        Raises:
            ConfigError: there is no room for it.
        """
        items: list[Any] = decode(self.further) if self.further else []
        items += [None] * (_STANDING_AT + 1 - len(items))
        items[_STANDING_AT] = None if standing == ORDINARY else standing.to_wire()
        while items and items[-1] is None:
            items.pop()
        return replace(self, further=encode(items) if items else b"")

    def to_wire(self) -> list[object]:
        """The form in records: an array that grows at the end."""
        wire = [list(self.services), self.weight, self.zone, self.version, dict(self.tags)]
        if self.further:
            return [*wire, self.details or None, *decode(self.further)]
        return [*wire, self.details] if self.details else wire

    @classmethod
    def from_wire(cls, wire: object) -> Metadata:
        """Read what `to_wire` made, here or in a later version.

        Raises:
            RemoteProtocolError: it is not that.
        """
        services, weight, zone, version, tags = array(wire, 5, "metadata")
        assert isinstance(wire, list)
        if not isinstance(services, list) or not all(isinstance(service, str) for service in services):
            raise RemoteProtocolError("metadata: services are texts")
        if not isinstance(tags, dict):
            raise RemoteProtocolError("metadata: tags are a map")
        details, *further = wire[5:] or [None]
        try:
            return cls(
                services=tuple(services),
                weight=weight,
                zone=zone,
                version=version,
                tags=tags,
                details=b"" if details is None else details,
                further=encode(further) if further else b"",
            )
        except (ConfigError, LocalProtocolError) as error:
            raise RemoteProtocolError(str(error)) from error


@functools.lru_cache(maxsize=1024)
def _standing_in(further: bytes) -> Standing:
    items = decode(further)
    wire = items[_STANDING_AT] if len(items) > _STANDING_AT else None
    if wire is None:
        return ORDINARY
    if not isinstance(wire, list) or len(wire) < 4:
        raise ConfigError("standing", wire, "phase, share, hold, stateful")
    phase, share, hold, stateful, bringing = (*wire[:5], False)[:5]
    return Standing(phase=phase, share=share, hold=hold, stateful=stateful, bringing=bringing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node as somebody believes it to be.

    Attributes:
        name: its name.
        address: where its datagrams and connections go.
        generation: which life of that name.
        incarnation: how often it has spoken up or changed its metadata in this life.
        status: alive, suspect, dead or left.
        metadata: what it told about itself.

    Nothing in it is about who believes it: members of one process that heard the same share one record.
    """

    name: str
    address: Address
    generation: Generation
    incarnation: Incarnation
    status: Status
    metadata: Metadata = field(default_factory=Metadata)
    _encoded: bytes = field(default=b"", init=False, repr=False, compare=False)
    _summary: Summary | None = field(default=None, init=False, repr=False, compare=False)
    _id: NodeId | None = field(default=None, init=False, repr=False, compare=False)
    _hash: int = field(default=0, init=False, repr=False, compare=False)

    def __hash__(self) -> int:
        if not self._hash:
            told = (self.name, self.address, *self.precedence, self.metadata)
            object.__setattr__(self, "_hash", hash(told) or 1)
        return self._hash

    @property
    def id(self) -> NodeId:
        """Name and generation."""
        if self._id is None:
            identity = NodeId(self.name, self.generation)
            object.__setattr__(self, "_id", identity)
            return identity
        return self._id

    @property
    def precedence(self) -> tuple[Generation, Incarnation, Status]:
        """The order of records of one name: a record is replaced by a greater one only."""
        return (self.generation, self.incarnation, self.status)

    def turned(self, status: Status) -> Member:
        """The same record with another ``status``; one and the same for equal records."""
        return _turned(self, status)

    def supersedes(self, other: Member) -> bool:
        """Whether this record replaces ``other`` of the same name.

        Between records of equal precedence the smaller content wins, so that all nodes keep the same one.
        """
        if self.precedence != other.precedence:
            return self.precedence > other.precedence
        if (self.address, self.metadata) == (other.address, other.metadata):
            return False  # nearly all that is heard was heard before
        return self._content() < other._content()

    def _content(self) -> tuple[bytes, bytes]:
        return (str(self.address).encode(), encode(self.metadata.to_wire()))

    @property
    def encoded(self) -> bytes:
        """The bytes of `to_wire`, made once: a record is sent many times."""
        if not self._encoded:
            object.__setattr__(self, "_encoded", encode(self.to_wire()))
        return self._encoded

    @property
    def summary(self) -> Summary:
        """What a digest says of it, made once: a digest is made for each exchange of states."""
        if self._summary is None:
            contents = _hash(encode([self.address.host, self.address.port, self.metadata.to_wire()]))
            summary = _read_summary(self.name, self.generation, self.incarnation, int(self.status), contents)
            object.__setattr__(self, "_summary", summary)
            return summary
        return self._summary

    def to_wire(self) -> list[object]:
        """The form in gossip, in ``moved`` answers and for clients: an array that grows at the end."""
        host, port = self.address.host, self.address.port
        return [
            self.name, host, port, self.generation, self.incarnation, int(self.status), self.metadata.to_wire(),
        ]  # fmt: skip

    @classmethod
    def from_wire(cls, wire: object) -> Member:
        """Read what `to_wire` made, here or in a later version.

        Raises:
            RemoteProtocolError: it is not that.
        """
        name, host, port, generation, incarnation, status, metadata = array(wire, 7, "member")
        return cls(
            name=name_from(name),
            address=Address(host_from(host), number(port, 65536, "port")),
            generation=number(generation, NUMBER_LIMIT, "generation"),
            incarnation=number(incarnation, NUMBER_LIMIT, "incarnation"),
            status=Status(number(status, len(Status), "status")),
            metadata=Metadata.from_wire(metadata),
        )


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
        return member.summary

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
            return _read_summary(*items)
        except TypeError as error:
            raise RemoteProtocolError("summary: texts and numbers") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Rumour:
    """One belief in transit: a record and, for a suspicion, who accuses."""

    member: Member
    accuser: str = ""
    _encoded: bytes = field(default=b"", init=False, repr=False, compare=False)

    def to_wire(self) -> list[object]:
        """The record with the accuser, if there is one, at its end."""
        wire = self.member.to_wire()
        return [*wire, self.accuser] if self.accuser else wire

    @property
    def encoded(self) -> bytes:
        """The bytes of `to_wire`, made once."""
        if not self._encoded:
            record = self.member.encoded
            with_accuser = _RECORD_WITH_ACCUSER + record[1:] + encode(self.accuser) if self.accuser else record
            object.__setattr__(self, "_encoded", with_accuser)
        return self._encoded

    @classmethod
    def from_wire(cls, wire: object) -> Rumour:
        """Read what `to_wire` made, here or in a later version.

        Raises:
            RemoteProtocolError: it is not that.
        """
        member = Member.from_wire(wire)
        accuser = wire[7] if isinstance(wire, list) and len(wire) > 7 else ""
        return cls(member=member, accuser=name_from(accuser) if accuser != "" else "")


@functools.lru_cache(maxsize=8192)
def _turned(member: Member, status: Status) -> Member:
    return shared(replace(member, status=status))


@functools.lru_cache(maxsize=16_384)
def shared(member: Member) -> Member:
    """The first record that was equal to ``member``: what is one object needs no comparison."""
    return member


@functools.lru_cache(maxsize=16_384, typed=True)  # typed: True is no 1
def _read_summary(name: object, generation: object, incarnation: object, status: object, contents: object) -> Summary:
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


def array(wire: object, length: int, what: str) -> list[Any]:
    """The first ``length`` items of ``wire``; what follows is from a later version.

    Raises:
        RemoteProtocolError: it is not an array, or shorter.
    """
    if not isinstance(wire, list) or len(wire) < length:
        raise RemoteProtocolError(f"{what}: an array of at least {length} items")
    return wire[:length]


def number(wire: object, limit: int, what: str) -> int:
    """``wire`` if it is a whole number from 0 to below ``limit``.

    Raises:
        RemoteProtocolError: it is not.
    """
    if type(wire) is not int or not 0 <= wire < limit:
        raise RemoteProtocolError(f"{what}: a whole number from 0 to {limit - 1}")
    return wire


def host_from(wire: object) -> str:
    """``wire`` if it can be a host.

    Raises:
        RemoteProtocolError: it cannot.
    """
    if not isinstance(wire, str) or not is_host(wire):
        raise RemoteProtocolError("host: printable text of 1 to 255 characters without spaces and slashes")
    return wire


def name_from(wire: object) -> str:
    """``wire`` if it can name a node.

    Raises:
        RemoteProtocolError: it cannot.
    """
    if not isinstance(wire, str) or len(wire) > MAX_NAME_CHARACTERS:
        raise RemoteProtocolError(f"name: text of at most {MAX_NAME_CHARACTERS} characters")
    try:
        return check_name(wire)
    except ConfigError as error:
        raise RemoteProtocolError(str(error)) from error
