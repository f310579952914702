"""What a session reports to its driver.

The events of small calls are not frozen, because that would make them twice as dear; nobody changes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .header import CallHeader
    from .hello import Hello


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerReady:
    """The hello of the other side was accepted: calls may be made."""

    hello: Hello


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalArrived:
    """The other side refused our hello; the connection is over."""

    code: int
    reason: str


@dataclass(slots=True)
class CallArrived:
    """A complete request: answer it with `Session.reply`, `Session.fail` or, if it is a cast, `Session.done`."""

    call_id: int
    header: CallHeader
    body: bytes
    """CBOR map of the message's fields but ns, cmd and key; not decoded yet."""
    streams: Mapping[str, int]
    """Ids of the named byte streams."""


@dataclass(slots=True)
class ReplyArrived:
    """The value of a call made here, as CBOR."""

    call_id: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureArrived:
    """The failure record of a call made here (see `decode_failure`)."""

    call_id: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsOffered:
    """The callee hands over streams with the answer that will follow."""

    call_id: int
    streams: Mapping[str, int]
    """Their ids by name; they are open from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """A cast was handled, or a cancelled call has ended without an answer."""

    call_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelArrived:
    """The caller gave up a call that is being handled here; its streams are gone already."""

    call_id: int
    reason: str


@dataclass(slots=True, kw_only=True)
class DataArrived:
    """Bytes of a named stream. They hold credit until `Session.consume` is told, whatever happens to the stream."""

    stream_id: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EndArrived:
    """The other side has sent all it had on this stream."""

    stream_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetArrived:
    """The other side gave up this stream. If it had ended its direction before, what it sent remains valid."""

    stream_id: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditArrived:
    """A stream, or with id 0 the connection, may send more."""

    stream_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PongArrived:
    """The answer to a `Session.ping`."""

    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GoAwayArrived:
    """The other side takes no more calls on this connection."""

    code: int
    reason: str
    retry_after: float | None
    refused: tuple[int, ...]
    """Calls that the other side had not accepted and certainly did not execute."""


Event: TypeAlias = (
    PeerReady
    | RefusalArrived
    | CallArrived
    | ReplyArrived
    | FailureArrived
    | StreamsOffered
    | CallEnded
    | CancelArrived
    | DataArrived
    | EndArrived
    | ResetArrived
    | CreditArrived
    | PongArrived
    | GoAwayArrived
)
