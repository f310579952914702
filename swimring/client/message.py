"""One call as it is sent, however often: what routes it, and its fields, encoded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swimring.mux import encode_fields, split_message
from swimring.service import NO_STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.identity import Key
    from swimring.service import Following


# Not frozen, because that would make it three times as dear; nobody changes one.
@dataclass(slots=True, kw_only=True)
class Message:
    """One call, complete but for its destination."""

    ns: str
    """The service."""
    cmd: str
    """The command."""
    key: Key | None
    """What the call is routed by."""
    body: bytes
    """The other fields, encoded."""
    idempotent: bool
    """Whether it may run twice."""
    streams: Mapping[str, object] = field(default_factory=lambda: NO_STREAMS)
    """What feeds each named byte stream."""
    traceparent: str | None = None
    """W3C trace context."""
    forward: bool = False
    """Whether who is asked shall hand it on to the owner."""
    deadline: float | None = None
    """When the caller stops waiting; None: not asked yet. To ask costs as much as to encode a header."""
    following: Following | None = None
    """The call for those who follow it; None if nobody does."""
    attempt: Following | None = None
    """The attempt of it that is under way, for the same."""


def read_message(
    message: Mapping[str, object],
    *,
    idempotent: bool = False,
    streams: Mapping[str, object] = NO_STREAMS,
    traceparent: str | None = None,
) -> Message:
    """Read a whole message as the application wrote it.

    Raises:
        InvalidRequest: it is no mapping with text keys, or its ns, cmd or key is of the wrong kind; nothing was sent.
        LocalProtocolError: a field has no place in CBOR; nothing was sent.
    """
    ns, cmd, key, fields = split_message(message)
    return Message(
        ns=ns,
        cmd=cmd,
        key=key,
        body=encode_fields(fields),
        idempotent=idempotent,
        streams=streams,
        traceparent=traceparent,
    )
