"""Eviction as a table: a record of a life that nothing of that life can exceed, and what its subject does about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swimring.swim import LAST_INCARNATION, Member, MemberFailed, Membership, Profile, Rumour, Status

from .records import member


def membership_with(*others: Member) -> Membership:
    membership = Membership(me=member("me"), profile=Profile.lan())
    membership.joined()
    for other in others:
        membership.apply(Rumour(member=other), now=0.0)
    return membership


def test_an_evicted_member_is_dead_at_once_and_the_rumour_is_spread() -> None:
    membership = membership_with(b := member("b", incarnation=3))
    change = membership.evict("b", now=1.0)
    assert change is not None
    dead = replace(b, status=Status.DEAD, incarnation=LAST_INCARNATION)
    assert (change.member, change.events) == (dead, (MemberFailed(member=dead),))
    assert "b" in membership.rumours
    assert membership.evict("b", now=2.0) is None, "once is enough"


def test_nothing_that_the_evicted_life_says_brings_it_back_but_the_next_life_does() -> None:
    membership = membership_with(b := member("b"))
    membership.evict("b", now=1.0)
    for incarnation in (2, 1_000_000, LAST_INCARNATION):
        assert membership.apply(Rumour(member=replace(b, incarnation=incarnation)), now=2.0) is None
    again = replace(b, generation=b.generation + 1)
    change = membership.apply(Rumour(member=again), now=3.0)
    assert change is not None
    assert change.member.status is Status.ALIVE


@pytest.mark.parametrize("status", [Status.DEAD, Status.SUSPECT, Status.LEFT])
def test_who_hears_that_it_was_evicted_stops_and_does_not_refute(status: Status) -> None:
    """Hearsay turns a death into a suspicion: that cannot be refuted either."""
    membership = membership_with()
    claim = replace(membership.me, status=status, incarnation=LAST_INCARNATION)
    change = membership.apply(Rumour(member=claim, accuser="b" if status is Status.SUSPECT else ""), now=1.0)
    assert change is not None
    assert (change.evicted, change.outbid, change.refuted) == (True, False, False)


def test_an_eviction_of_an_earlier_life_of_ours_is_nothing_to_us() -> None:
    membership = membership_with()
    claim = replace(
        membership.me, generation=membership.me.generation - 1, status=Status.DEAD, incarnation=LAST_INCARNATION
    )
    assert membership.apply(Rumour(member=claim), now=1.0) is None


def test_nobody_evicts_itself_or_who_is_gone_or_unknown() -> None:
    membership = membership_with(member("b", status=Status.DEAD), member("c", status=Status.LEFT))
    assert [membership.evict(name, now=1.0) for name in ("me", "b", "c", "d")] == [None] * 4
