"""What an application tells every member, and its form on the wire."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from swimring.codec import decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError
from swimring.identity import NodeId

from .config import DATAGRAM_BUDGET
from .member import NUMBER_LIMIT, array, name_from, number

ID_SIZE: Final = 14
MAX_BROADCAST_NAME: Final = 128
LIST_OVERHEAD: Final = 5
"""The most bytes that a list of broadcasts takes in an envelope besides its items."""
_TIME_SIZE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """Something said to everybody.

    Attributes:
        time: on the Lamport clock of the one who said it: what followed from another broadcast has a greater time.
        origin: who said it.
        name: what kind of thing it is.
        encoded: the payload as CBOR.
    """

    time: int
    origin: NodeId
    name: str
    encoded: bytes

    @property
    def payload(self) -> Any:
        """What was said: a new copy each time."""
        return decode(self.encoded)

    @property
    def order(self) -> tuple[int, NodeId]:
        """Sorted by this, broadcasts are in one order everywhere, and none is before what it followed from."""
        return (self.time, self.origin)

    @property
    def id(self) -> bytes:
        """14 bytes that no other broadcast has; those of a later time are greater."""
        return self.time.to_bytes(_TIME_SIZE, "big") + hashlib.blake2b(encode(self.to_wire()), digest_size=6).digest()

    def to_wire(self) -> list[object]:
        """The form in gossip: an array that grows at its end."""
        return [self.time, self.origin.name, self.origin.generation, self.name, self.encoded]

    @classmethod
    def from_wire(cls, wire: object) -> Broadcast:
        """Read what `to_wire` made, here or in a later version.

        Raises:
            RemoteProtocolError: it is not that. The payload is not looked at.
        """
        time, origin, generation, name, encoded = array(wire, 5, "broadcast")
        if not isinstance(encoded, bytes) or len(encoded) > DATAGRAM_BUDGET:
            raise RemoteProtocolError(f"broadcast: a payload of at most {DATAGRAM_BUDGET} bytes")
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_BROADCAST_NAME:
            raise RemoteProtocolError(f"broadcast: a name of 1 to {MAX_BROADCAST_NAME} characters")
        return cls(
            time=number(time, NUMBER_LIMIT, "time"),
            origin=NodeId(name_from(origin), number(generation, NUMBER_LIMIT, "generation")),
            name=name,
            encoded=encoded,
        )


def encode_payload(name: object, payload: object, *, limit: int) -> bytes:
    """The bytes of ``payload`` for a broadcast called ``name``.

    Raises:
        LocalProtocolError: it cannot be encoded, or has with its name more than ``limit`` bytes.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_BROADCAST_NAME:
        raise LocalProtocolError(
            f"broadcast: a name is text of 1 to {MAX_BROADCAST_NAME} characters, found {name!r:.60}"
        )
    encoded = encode(payload)
    size = len(encode(name)) + len(encoded)
    if size > limit:
        raise LocalProtocolError(
            f"broadcast {name!r}: {size} bytes with its name, more than {limit}: tell everybody where to find it, "
            "and let them call for it"
        )
    return encoded


def time_of(identity: bytes) -> int:
    """The time of the broadcast with that id."""
    return int.from_bytes(identity[:_TIME_SIZE], "big")


def ids_from(wire: object) -> tuple[bytes, ...]:
    """Read a list of ids.

    Raises:
        RemoteProtocolError: it is none.
    """
    if not isinstance(wire, bytes) or len(wire) % ID_SIZE:
        raise RemoteProtocolError(f"ids: bytes, {ID_SIZE} for each")
    return tuple(wire[start : start + ID_SIZE] for start in range(0, len(wire), ID_SIZE))
