"""What the application learns about members. Each event carries the record as it is after the change.

For one member they come as: joined, then any of updated, suspected and recovered, then failed or left, then joined
again. A member whose death was a misunderstanding of its farewell is reported failed and, later, left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from swimring.identity import Address

    from .member import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberJoined:
    """A member is here that was unknown, dead or gone before."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberUpdated:
    """A member that is here changed its metadata, its address or its generation."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSuspected:
    """Somebody could not reach a member; it has until the end of the suspicion to speak up."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecovered:
    """A suspect spoke up."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFailed:
    """A member is dead: it did not speak up in time, or its address refuses connections."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberLeft:
    """A member said farewell."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class NameConflicted:
    """Two addresses claim the same name, generation and incarnation; the record kept is ``member``.

    Told at most once a minute for each name and address; ``repeated`` claims were not told since the last time.
    """

    member: Member
    other: Address
    repeated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resynced:
    """A listener was too slow and missed events; this is everybody instead."""

    members: tuple[Member, ...]


MemberEvent: TypeAlias = (
    MemberJoined
    | MemberUpdated
    | MemberSuspected
    | MemberRecovered
    | MemberFailed
    | MemberLeft
    | NameConflicted
    | Resynced
)
