"""Every bound of a connection in one table: sizes, counts and patience."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from swimring.errors import ConfigError

KIB: Final = 1024
MIB: Final = 1024 * KIB

MAX_NAME: Final = 255
MAX_STREAM_NAME: Final = 64
MAX_STREAMS_PER_CALL: Final = 1_024
MAX_STREAM_NAMES: Final = 12_000
"""Bytes of all names of a call's streams together: with what is around them they fit the smallest frame body."""
MAX_UNREAD_ANSWERS: Final = 1_000
MAX_UNSENT: Final = 64 * MIB
MAX_WINDOW: Final = 2**31 - 1

_FLOORS: Final = {
    "frame_body": 16 * KIB,
    "message": 16 * KIB,
    "streams": 1,
    "strangers": 1,
    "stream_window": 16 * KIB,
    "connection_window": 16 * KIB,
    "message_window": 32 * KIB,
}
_CEILINGS: Final = {"frame_body": 2**24 - 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one side of a connection takes, and how long it waits. Sizes are bytes, times are seconds.

    The first six are told to the peer in the hello; the peer sends no more than that.
    """

    frame_body: int = 64 * KIB
    """Body of one frame; a larger message or chunk is cut so that small calls slip between."""
    message: int = MIB
    """One request or reply, header included."""
    streams: int = 10_000
    """Calls and named streams the other side may have open at once."""
    stream_window: int = 512 * KIB
    """Bytes of one stream that are under way or not yet read by the application."""
    connection_window: int = 16 * MIB
    """The same for all streams of a connection together."""
    message_window: int = 4 * MIB
    """Bytes of requests and replies under way; returned as soon as a message is complete, never by the application.

    While more than two of it wait, as answers, for the peer to read, no further call of that connection begins; those
    that run may add theirs until eight of it wait, further ones are dropped (`Overloaded`, maybe executed). Requests
    held back for that are kept up to the first size, then refused.
    """
    connections: int = 1_024
    """Peers of a pool that came to us; more are refused."""
    strangers: int = 256
    """Connections to us whose hello has not been accepted; the oldest makes room for another."""
    dials: int = 1_024
    """Connections that we opened, with those under way, of a node or of a client; more are `Unreachable`."""
    hello_bytes: int = 64 * KIB
    """What a peer may send before its hello is accepted."""
    hello_within: float = 5.0
    """How long a peer may take to say hello."""
    dial_within: float = 5.0
    """How long connecting may take, before the hello."""
    cancel_grace: float = 0.25
    """How long a cancelled call waits for the other side to confirm, and a handler outlives its connection."""
    call_lifetime: float = 3600.0
    """The longest a call without streams may run."""
    idle_interval: float = 10.0
    """Silence after which a PING is sent."""
    idle_patience: float = 5.0
    """Silence after that PING which ends the connection."""
    redial_after: float = 0.05
    """First pause after a failed dial; it doubles with each further failure."""
    redial_at_most: float = 1.0
    """The longest pause between two dials."""

    def __post_init__(self) -> None:
        """Check every bound.

        Raises:
            ConfigError: one of them is out of range.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            floor = _FLOORS.get(field.name, 0)
            ceiling = _CEILINGS.get(field.name, MAX_WINDOW)
            if not floor <= value <= ceiling:
                raise ConfigError(f"limits.{field.name}", value, f"from {floor} to {ceiling}")
        if self.message * 2 > self.message_window:
            # Up to half of the window is credit that was not returned yet: the rest has to hold a whole message.
            raise ConfigError("limits.message", self.message, f"at most half of message_window ({self.message_window})")

    def announced(self) -> list[int]:
        """The six numbers that go into the hello."""
        return [
            self.frame_body,
            self.message,
            self.streams,
            self.stream_window,
            self.connection_window,
            self.message_window,
        ]
