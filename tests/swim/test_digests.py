"""Digests, differences and checksums: what two members compare before they show each other records."""

from __future__ import annotations

import dataclasses
import itertools
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swimring.errors import RemoteProtocolError
from swimring.identity import Address
from swimring.swim import Checksum, Divergence, Member, Membership, Metadata, Profile, Rumour, Status, Summary
from tests.swim.records import member, membership

LAN = Profile.lan()


def know(believes: Membership, *records: Member, now: float = 0.0) -> Membership:
    for record in records:
        believes.apply(Rumour(member=record, accuser="carol" if record.status is Status.SUSPECT else ""), now=now)
    return believes


def _suspects(believes: Membership) -> set[str]:
    return {each.name for each in believes.others if each.status is Status.SUSPECT}


def test_a_summary_survives_the_wire_and_ignores_what_a_later_version_adds() -> None:
    summary = Summary.of(member())
    assert Summary.from_wire(summary.to_wire()) == summary
    assert Summary.from_wire([*summary.to_wire(), "more"]) == summary


@pytest.mark.parametrize("wire", [None, [], ["bob", 1, 1, 0], ["bob", 1, 1, 9, 1], ["bob", 1, 1, 0, 1 << 64]])
def test_a_summary_that_makes_no_sense_is_refused(wire: object) -> None:
    with pytest.raises(RemoteProtocolError):
        Summary.from_wire(wire)


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2}, {"incarnation": 6}, {"status": Status.SUSPECT}, {"metadata": Metadata(weight=2)},
        {"address": Address("10.0.0.9", 7979)}, {"name": "bobby"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_whatever_differs_in_a_record_changes_the_checksum(change: dict[str, object]) -> None:
    checksum, other = Checksum(), Checksum()
    checksum.put(member())
    other.put(dataclasses.replace(member(), **change))  # type: ignore[arg-type]  # fields by name
    assert checksum.value != other.value


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 5), st.sampled_from(Status)), max_size=20))
def test_the_checksum_depends_on_the_last_records_only(history: list[tuple[str, int, Status]]) -> None:
    checksum, fresh = Checksum(), Checksum()
    last: dict[str, Member] = {}
    for name, incarnation, status in history:
        last[name] = member(name, status, incarnation)
        checksum.put(last[name])
        if incarnation > 3:
            assert 0 <= checksum.value < 1 << 64  # asking in between changes nothing
    for record in random.Random(1).sample(list(last.values()), len(last)):
        fresh.put(record)
    assert checksum.value == fresh.value


def test_tombstones_are_not_in_the_checksum_as_each_member_forgets_them_at_another_time() -> None:
    one = know(membership(), member("bob"), member("eve"))
    two = know(membership(), member("bob"))
    assert one.checksum != two.checksum
    know(one, member("eve", Status.DEAD))
    assert one.checksum == two.checksum
    assert one.forget(now=10 * LAN.tombstone_retention) != []
    assert one.checksum == two.checksum


def test_only_what_differs_is_news_or_wanted() -> None:
    same, newer_here, newer_there = (member(name) for name in ("same", "here", "there"))
    mine = know(membership(), same, dataclasses.replace(newer_here, incarnation=9), newer_there, member("only-here"))
    theirs = know(membership(), same, newer_here, dataclasses.replace(newer_there, incarnation=9), member("only-there"))
    difference = mine.compare(theirs.digest(now=0), now=0)
    assert {record.name for record in difference.news} == {"here", "only-here"}
    assert set(difference.wanted) == {"there", "only-there"}


def test_equal_views_have_no_difference() -> None:
    one, two = (know(membership(), member("bob"), member("eve", Status.DEAD)) for _ in range(2))
    difference = one.compare(two.digest(now=0), now=0)
    assert difference.news == ()
    assert difference.wanted == ()


def test_at_equal_precedence_and_other_contents_both_show_theirs() -> None:
    mine = know(membership(), member("bob"))
    theirs = know(membership(), member("bob", host="10.9.9.9"))
    difference = mine.compare(theirs.digest(now=0), now=0)
    assert [record.name for record in difference.news] == ["bob"]
    assert difference.wanted == ("bob",)


def test_old_tombstones_are_shown_to_those_only_who_believe_otherwise() -> None:
    mine = know(membership(), member("bob", Status.DEAD))
    late = 0.6 * LAN.tombstone_retention
    assert mine.compare([], now=late).news == (mine.me,)
    mistaken = know(membership(), member("bob"))
    assert [record.name for record in mine.compare(mistaken.digest(now=late), now=late).news] == ["bob"]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 4), st.sampled_from(Status)), max_size=12),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 4), st.sampled_from(Status)), max_size=12),
)
@example([(name, 1, Status.SUSPECT) for name in "abc"], [("c", 1, Status.ALIVE)])
@settings(max_examples=1000)
def test_after_one_exchange_both_believe_the_same_of_everybody_but_of_deaths_by_hearsay(
    left: list[tuple[str, int, Status]], right: list[tuple[str, int, Status]]
) -> None:
    one, two = membership("one"), membership("two")
    for believes, heard in ((one, left), (two, right)):
        know(believes, *(member(name, status, incarnation) for name, incarnation, status in heard))
    suspected = {believes.me.name: _suspects(believes) for believes in (one, two)}
    difference = two.compare(one.digest(now=0), now=0)
    shown = [one.told(record) for name in difference.wanted if (record := one.get(name)) is not None]
    news = [two.told(record) for record in difference.news]
    for told in news:
        one.merge(told, now=1)
    for told in shown:
        two.merge(told, now=1)
    for name in "abcd":
        a, b = one.get(name), two.get(name)
        assert (a is None) == (b is None)
        if a is not None and b is not None and a != b:
            if {a.status, b.status} == {Status.ALIVE, Status.SUSPECT}:
                # One accuser is not believed about more than half of all, those included that this exchange clears.
                doubter = one if a.status is Status.ALIVE else two
                assert len(suspected[doubter.me.name] | _suspects(doubter)) >= 2
            else:
                assert {a.status, b.status} == {Status.SUSPECT, Status.DEAD}
                assert (a.generation, a.incarnation) == (b.generation, b.incarnation)


# ---------------------------------------------------------------------------------------------------- divergence


def calls(divergence: Divergence, now: float, *, mine: int = 1, quiet_since: float = 0.0) -> bool:
    return divergence.calls_for_exchange(mine=mine, theirs=2, quiet_since=quiet_since, now=now)


def test_views_that_differ_are_compared_after_two_quiet_rounds_of_gossip() -> None:
    divergence = Divergence(LAN)
    assert not calls(divergence, 10.39, quiet_since=10.0)
    assert calls(divergence, 10.41, quiet_since=10.0)


def test_equal_views_are_not_compared() -> None:
    assert not Divergence(LAN).calls_for_exchange(mine=1, theirs=1, quiet_since=0, now=100)


def test_an_exchange_that_did_not_help_is_repeated_ever_less_often_up_to_the_push_pull_interval() -> None:
    divergence = Divergence(LAN)
    at = [tick / 10 for tick in range(10, 4000) if calls(divergence, tick / 10)]
    gaps = [round(after - before, 1) for before, after in itertools.pairwise(at)]
    assert gaps[:5] == pytest.approx([0.4, 0.8, 1.6, 3.2, 6.4], abs=0.11)
    assert gaps[-1] == pytest.approx(LAN.push_pull_interval, abs=0.11)


def test_a_change_of_our_view_is_progress_and_makes_the_pause_short_again() -> None:
    divergence = Divergence(LAN)
    assert [calls(divergence, now) for now in (1.0, 1.5, 2.0, 2.4)] == [True, True, False, True]
    assert calls(divergence, 4.1, mine=7)
    assert calls(divergence, 4.6, mine=8)
