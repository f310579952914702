"""A call as the caller wants it: what is asked of whom, before anybody knows where that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from swimring.mux import join_message, split_message
from swimring.service import NO_STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from swimring.identity import Key
    from swimring.service import Following


# Not frozen, because that would make it three times as dear; nobody changes one.
@dataclass(slots=True)
class Outgoing:
    """One call, complete but for its destination."""

    ns: str = ""
    """The service."""
    cmd: str = ""
    """The command."""
    key: Key | None = None
    """What the call is routed by."""
    fields: Mapping[str, object] = field(default_factory=dict)
    """The rest of the message."""
    idempotent: bool = False
    """Whether it may run twice."""
    streams: Mapping[str, object] = field(default_factory=lambda: NO_STREAMS)
    """What feeds each named byte stream."""
    hops: int = 0
    """Owners asked before in this round."""
    attempt: int = 0
    """Attempts before this one."""
    traceparent: str | None = None
    """W3C trace context."""
    following: Following | None = None
    """The call, or the attempt of it, for those who follow it; None if nobody does."""

    def followed(self, following: Following) -> Outgoing:
        """The call, or the attempt of it, as ``following`` follows it, and in the trace it was put into."""
        return Outgoing(
            self.ns,
            self.cmd,
            self.key,
            self.fields,
            self.idempotent,
            self.streams,
            self.hops,
            self.attempt,
            following.traceparent(self.traceparent),
            following if following.wanted else None,
        )


def outgoing(
    message: Mapping[str, object],
    *,
    idempotent: bool = False,
    streams: Mapping[str, object] = NO_STREAMS,
) -> Outgoing:
    """Read a whole message: what routes it, and its fields.

    Raises:
        InvalidRequest: it is no mapping with text keys, or its ns, cmd or key is of the wrong kind; nothing was sent.
    """
    ns, cmd, key, fields = split_message(message)
    return Outgoing(ns, cmd, key, fields, idempotent, streams)


def whole_message(out: Outgoing) -> dict[str, Any]:
    """The message that ``out`` was read from, as a handler's pattern sees it."""
    return join_message(out.ns, out.cmd, out.key, out.fields)
