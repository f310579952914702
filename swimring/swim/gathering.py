"""A cold start: members that wait for each other before any of them owns something.

A node that expects N members starts *gathering*: it says so in its metadata, offers nothing and takes no keys. The
cluster is formed for it when it sees N members that will own something, itself included, or one that owns something
already. Two groups that do not know of each other cannot both form while N is more than half of all nodes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from swimring.errors import ConfigError

from .member import Metadata, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .member import Member

GATHERING_TAG: Final = "swimring.gathering"
"""The tag that a gathering member has; its value is how many it expects, or ``0`` if it will own nothing itself."""


def while_gathering(metadata: Metadata, *, expect: int) -> Metadata:
    """What a node that will have ``metadata`` says while it gathers.

    Raises:
        ConfigError: the tag is taken, or too much for the limit of metadata.
    """
    if GATHERING_TAG in metadata.tags:
        raise ConfigError("tags", GATHERING_TAG, "this tag is swimring's own")
    worth = str(expect) if owns(metadata) else "0"
    return replace(metadata, services=(), weight=0, tags={**metadata.tags, GATHERING_TAG: worth})


def owns(metadata: Metadata) -> bool:
    """Whether a member with ``metadata`` has a place on a ring."""
    return bool(metadata.services) and metadata.ring_weight > 0


def gathers(member: Member) -> bool:
    """Whether ``member`` waits for a cluster to form."""
    return GATHERING_TAG in member.metadata.tags


def count_gathered(members: Iterable[Member]) -> int:
    """How many of ``members`` are alive and own something, or will when the cluster is formed."""
    alive = (member for member in members if member.status is Status.ALIVE)
    return sum(owns(member.metadata) or member.metadata.tags.get(GATHERING_TAG, "0") != "0" for member in alive)


def is_formed(members: Iterable[Member], *, expect: int) -> bool:
    """Whether there is a cluster: ``expect`` members wait for it, or one is in it already."""
    members = tuple(members)
    if any(member.status is Status.ALIVE and owns(member.metadata) for member in members):
        return True
    return count_gathered(members) >= expect


def all_have_formed(members: Iterable[Member]) -> bool:
    """Whether none of the living ``members`` gathers any more."""
    return not any(member.status is Status.ALIVE and gathers(member) for member in members)
