"""What members say to each other. Every message travels in an envelope that also carries rumours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from swimring.identity import Incarnation, NodeId

    from .broadcast import Broadcast
    from .member import Rumour, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Are you there? Only the destination of the envelope may answer, with an `Ack` of the same number.

    Attributes:
        checksum: of the sender's view of all members, below 2^64; None if it does not tell.
    """

    checksum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """I am, or, from a relay: the one you asked about is.

    Attributes:
        checksum: of the sender's view of all members, below 2^64; None if it does not tell.
        lag: seconds by which the sender's timers have been late of late, in whole milliseconds up to a minute.
    """

    checksum: int | None = None
    lag: float = 0.0


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
    """The rumours of the envelope are records of mine; ``more`` parts follow. Streams only.

    Attributes:
        more: whether this is not the last part.
        digest: summaries of all my records, in place of the records; None if these are all of them, or if this is no
            first word.
        wanted: names of your records that I should like to see, in answer to your digest; None if there was none.
        recap: of the broadcasts that I have heard; None if I do not tell.
        checksum: of all my records, in place of a digest: most of the time nothing differs. As an answer: it differs.
    """

    more: bool
    digest: tuple[Summary, ...] | None = None
    wanted: tuple[str, ...] | None = None
    recap: Recap | None = None
    checksum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recap:
    """Which broadcasts somebody has heard, in short.

    Attributes:
        clock: its Lamport clock.
        floor: everything up to this time it takes for heard.
        checksum: the sum of the ids of the others, below 2^64.
    """

    clock: int
    floor: int
    checksum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """These are the broadcasts that I have heard. Streams only.

    Attributes:
        floor: and everything up to this time.
        ids: of those after it.
    """

    floor: int
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The broadcasts of the envelope are those that you missed; ``more`` parts follow. Streams only.

    Attributes:
        more: whether this is not the last part.
        wanted: ids of those that I missed.
    """

    more: bool
    wanted: tuple[bytes, ...] = ()


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
    Ping
    | Ack
    | Nack
    | PingRequest
    | Gossip
    | RefusalQuery
    | RefusalAnswer
    | State
    | Refused
    | Recall
    | Replay
    | KeyMissing
    | Unknown
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
        broadcasts: what applications tell everybody; only in pings, acks, gossip and replays.
    """

    source: NodeId
    incarnation: Incarnation
    destination: NodeId | None = None
    sequence: int = 0
    message: Message
    rumours: tuple[Rumour, ...] = ()
    broadcasts: tuple[Broadcast, ...] = ()
