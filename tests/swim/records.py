"""Records and memberships for the tests of the pure membership."""

from __future__ import annotations

import dataclasses

from swimring.identity import Address
from swimring.swim import Member, Membership, Metadata, Profile, Rumour, Status


def member(
    name: str = "bob",
    status: Status = Status.ALIVE,
    incarnation: int = 5,
    *,
    generation: int = 1,
    host: str = "10.0.0.2",
    metadata: Metadata | None = None,
) -> Member:
    return Member(
        name=name,
        address=Address(host, 7979),
        generation=generation,
        incarnation=incarnation,
        status=status,
        metadata=metadata or Metadata(),
    )


def rumour(status: Status, incarnation: int = 5, *, accuser: str = "carol", **facts: object) -> Rumour:
    record = dataclasses.replace(member(status=status, incarnation=incarnation), **facts)  # type: ignore[arg-type]  # fields by name
    return Rumour(member=record, accuser=accuser if status is Status.SUSPECT else "")


def membership(name: str = "me", *, profile: Profile | None = None, others: int = 0) -> Membership:
    """A membership that has joined, whose own record is alive at incarnation 5, with ``others`` members."""
    believes = Membership(me=member(name, host="10.0.0.1"), profile=profile or Profile.lan())
    believes.joined()
    for number in range(others):
        believes.apply(Rumour(member=member(f"other{number}", host=f"10.0.1.{number}")), now=0.0)
    drain(believes)
    return believes


def drain(believes: Membership) -> None:
    """Forget what is queued to be spread."""
    while believes.rumours:
        believes.rumours.take(budget=100_000, limit=1)
