"""Numbers about connections and what goes over them, for people and monitors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStatistics:
    """What is going on over some connections, at one moment.

    Attributes:
        connections: connections that have not ended, those that say hello included.
        streams: streams of calls that somebody reads or writes here.
        blocked: those of them that wait for credit: what they have sent is not read, or others fill the connection.
        calling: calls made here that are not over.
        handling: calls of the other sides that are not over.
    """

    connections: int
    streams: int
    blocked: int = 0
    calling: int
    handling: int

    def __add__(self, other: CallStatistics) -> CallStatistics:
        """Both together."""
        return CallStatistics(
            connections=self.connections + other.connections,
            streams=self.streams + other.streams,
            blocked=self.blocked + other.blocked,
            calling=self.calling + other.calling,
            handling=self.handling + other.handling,
        )


def count_calls(connections: Iterable[Connection]) -> CallStatistics:
    """Look at each of them once."""
    each = tuple(connections)
    return CallStatistics(
        connections=len(each),
        streams=sum(connection.open_streams for connection in each),
        blocked=sum(connection.blocked_streams for connection in each),
        calling=sum(len(connection.calling) for connection in each),
        handling=sum(len(connection.serving) for connection in each),
    )
