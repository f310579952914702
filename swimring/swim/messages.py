"""What members say to each other. Every message travels in an envelope that also carries rumours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from swimring.identity import Incarnation, NodeId

    from .member import Rumour


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Are you there? Only the destination of the envelope may answer, with an `Ack` of the same number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """I am, or, from a relay: the one you asked about is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """From a relay: I am here, and the one you asked about has not answered me."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PingRequest:
    """Please ping ``target`` for me; tell me `Nack` after ``budget`` seconds, and `Ack` whenever it answers."""

    target: NodeId
    budget: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gossip:
    """Nothing but the rumours of the envelope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalQuery:
    """My connection to ``target`` was refused; is yours?"""

    target: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalAnswer:
    """Whether my connection to the one you asked about was refused, too."""

    refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The rumours of the envelope are a part of my full state; ``more`` parts follow. Streams only."""

    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Your bytes make no sense to me, for this reason. Streams only."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMissing:
    """I do not have the key that you seal with; I have the one that this is sealed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A message of a later version; its rumours count all the same."""

    kind: int


Message: TypeAlias = (
    Ping | Ack | Nack | PingRequest | Gossip | RefusalQuery | RefusalAnswer | State | Refused | KeyMissing | Unknown
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One message on its way.

    Attributes:
        source: who sends it.
        incarnation: the sender's incarnation.
        destination: whom it is for; None when the sender knows an address only. A generation of 0 means any.
        sequence: the number that an answer repeats.
        message: what is said.
        rumours: what else the sender wants to spread.
    """

    source: NodeId
    incarnation: Incarnation
    destination: NodeId | None = None
    sequence: int = 0
    message: Message
    rumours: tuple[Rumour, ...] = ()
