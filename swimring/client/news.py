"""What a node tells those who follow it, read: everybody first, in pieces, then what changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from swimring.errors import ConfigError, RemoteProtocolError
from swimring.identity import check_name
from swimring.swim import Member

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_MAX_POINTS: Final = 65_536
MAX_MEMBERS: Final = 100_000
"""Members that one node may tell of; more are no cluster of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """Everything that a node knows about its cluster, at one moment."""

    cluster: str
    """The name of its cluster."""
    points: int
    """Points on the ring for each unit of weight."""
    members: tuple[Member, ...]
    """Everybody that node knows of, itself included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One piece of what a node tells."""

    members: tuple[Member, ...]
    """Who is new, or has changed."""
    gone: tuple[str, ...] = ()
    """Names that it does not speak of any more."""
    more: bool = False
    """Whether the next piece belongs to it."""
    cluster: str = ""
    """In the first piece of everybody: the name of the cluster."""
    points: int = 0
    """There as well: points on the ring for each unit of weight."""

    @classmethod
    def from_wire(cls, item: object) -> News:
        """Read an item of ``{"ns": "swimring", "cmd": "follow"}``; fields it does not know are ignored.

        Raises:
            RemoteProtocolError: it is not that.
        """
        match item:
            case {"members": [*records], **rest}:
                pass
            case _:
                raise RemoteProtocolError("malformed news about the members")
        gone, more = rest.get("gone", []), rest.get("more", False)
        if not (isinstance(gone, list) and all(isinstance(name, str) for name in gone) and isinstance(more, bool)):
            raise RemoteProtocolError("malformed news about the members")
        cluster, points = _read_cluster(rest.get("cluster"), rest.get("points"))
        members = tuple(Member.from_wire(record) for record in records)
        return cls(members=members, gone=tuple(gone), more=more, cluster=cluster, points=points)


def _read_cluster(cluster: object, points: object) -> tuple[str, int]:
    if cluster is None and points is None:
        return "", 0
    if not isinstance(cluster, str) or not isinstance(points, int) or not 1 <= points <= _MAX_POINTS:
        raise RemoteProtocolError(f"a cluster {cluster!r} with {points!r} points for each unit of weight")
    try:
        return check_name(cluster), points
    except ConfigError as error:
        raise RemoteProtocolError(f"impossible name of a cluster: {error}") from error


async def read_everybody(items: AsyncIterator[Any]) -> ClusterState:
    """What the first pieces say: all that the node knows.

    Raises:
        RemoteProtocolError: they say something else, or end before that.
        CallError: the call has failed.
    """
    first = piece = await _next(items)
    if not first.cluster:
        raise RemoteProtocolError("news of no cluster")
    members = list(first.members)
    while piece.more:
        piece = await _next(items)
        members += piece.members
        if len(members) > MAX_MEMBERS:
            raise RemoteProtocolError(f"a cluster of more than {MAX_MEMBERS} members")
    return ClusterState(cluster=first.cluster, points=first.points, members=tuple(members))


async def _next(items: AsyncIterator[Any]) -> News:
    async for item in items:
        return News.from_wire(item)
    raise RemoteProtocolError("the news ended before everybody was told of")
