"""The state table, row by row; the order of records; what is said about ourselves."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.identity import Address, NodeId
from swimring.swim import (
    Member,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberRecovered,
    Membership,
    MemberSuspected,
    MemberUpdated,
    Metadata,
    NameConflicted,
    Profile,
    Rumour,
    Status,
    shortest_suspicion,
)
from swimring.swim.member import NUMBER_LIMIT
from tests.swim.records import drain, member, membership, rumour

if TYPE_CHECKING:
    import random

ALIVE, SUSPECT, DEAD, LEFT = Status
NOTHING = (None, False, ())

# local record at incarnation 5, rumour, its incarnation -> (record, spread?, events); a record of None: as before.
Outcome: TypeAlias = tuple[tuple[Status, int] | None, bool, tuple[type[object], ...]]
TABLE: list[tuple[Status | None, Status, int, Outcome]] = [
    (None, ALIVE, 1, ((ALIVE, 1), True, (MemberJoined,))),
    (None, SUSPECT, 1, ((SUSPECT, 1), True, (MemberJoined,))),
    (None, DEAD, 1, ((DEAD, 1), False, ())),
    (None, LEFT, 1, ((LEFT, 1), False, ())),
    (ALIVE, ALIVE, 4, NOTHING),
    (ALIVE, ALIVE, 5, NOTHING),
    (ALIVE, ALIVE, 6, ((ALIVE, 6), True, ())),
    (ALIVE, SUSPECT, 4, NOTHING),
    (ALIVE, SUSPECT, 5, ((SUSPECT, 5), True, (MemberSuspected,))),
    (ALIVE, SUSPECT, 6, ((SUSPECT, 6), True, (MemberSuspected,))),
    (ALIVE, DEAD, 4, NOTHING),
    (ALIVE, DEAD, 5, ((DEAD, 5), True, (MemberFailed,))),
    (ALIVE, DEAD, 6, ((DEAD, 6), True, (MemberFailed,))),
    (ALIVE, LEFT, 4, NOTHING),
    (ALIVE, LEFT, 5, ((LEFT, 5), True, (MemberLeft,))),
    (ALIVE, LEFT, 6, ((LEFT, 6), True, (MemberLeft,))),
    (SUSPECT, ALIVE, 4, NOTHING),
    (SUSPECT, ALIVE, 5, NOTHING),
    (SUSPECT, ALIVE, 6, ((ALIVE, 6), True, (MemberRecovered,))),
    (SUSPECT, SUSPECT, 4, NOTHING),
    (SUSPECT, SUSPECT, 5, NOTHING),  # by the same accuser; others are tested below
    (SUSPECT, SUSPECT, 6, ((SUSPECT, 6), True, ())),
    (SUSPECT, DEAD, 4, NOTHING),
    (SUSPECT, DEAD, 5, ((DEAD, 5), True, (MemberFailed,))),
    (SUSPECT, DEAD, 6, ((DEAD, 6), True, (MemberFailed,))),
    (SUSPECT, LEFT, 4, NOTHING),
    (SUSPECT, LEFT, 5, ((LEFT, 5), True, (MemberLeft,))),
    (SUSPECT, LEFT, 6, ((LEFT, 6), True, (MemberLeft,))),
    (DEAD, ALIVE, 4, NOTHING),
    (DEAD, ALIVE, 5, NOTHING),
    (DEAD, ALIVE, 6, ((ALIVE, 6), True, (MemberJoined,))),
    (DEAD, SUSPECT, 4, NOTHING),
    (DEAD, SUSPECT, 5, NOTHING),
    (DEAD, SUSPECT, 6, ((SUSPECT, 6), True, (MemberJoined,))),
    (DEAD, DEAD, 4, NOTHING),
    (DEAD, DEAD, 5, NOTHING),
    (DEAD, DEAD, 6, ((DEAD, 6), True, ())),
    (DEAD, LEFT, 4, NOTHING),
    (DEAD, LEFT, 5, ((LEFT, 5), True, (MemberLeft,))),
    (DEAD, LEFT, 6, ((LEFT, 6), True, (MemberLeft,))),
    (LEFT, ALIVE, 4, NOTHING),
    (LEFT, ALIVE, 5, NOTHING),
    (LEFT, ALIVE, 6, ((ALIVE, 6), True, (MemberJoined,))),
    (LEFT, SUSPECT, 4, NOTHING),
    (LEFT, SUSPECT, 5, NOTHING),
    (LEFT, SUSPECT, 6, ((SUSPECT, 6), True, (MemberJoined,))),
    (LEFT, DEAD, 4, NOTHING),
    (LEFT, DEAD, 5, NOTHING),
    (LEFT, DEAD, 6, ((DEAD, 6), True, ())),
    (LEFT, LEFT, 4, NOTHING),
    (LEFT, LEFT, 5, NOTHING),
    (LEFT, LEFT, 6, ((LEFT, 6), True, ())),
]


def row_name(row: object) -> str:
    if isinstance(row, Status):
        return row.word
    return {type(None): "unknown", int: str(row), bool: str(row)}.get(type(row), "")


def knowing(local: Status | None) -> Membership:
    believes = membership()
    if local is not None:
        believes.apply(rumour(local), now=1.0)
        drain(believes)
    return believes


@pytest.mark.parametrize(("local", "heard", "incarnation", "expected"), TABLE, ids=row_name)
def test_the_state_table_holds(
    local: Status | None,
    heard: Status,
    incarnation: int,
    expected: Outcome,
) -> None:
    believes = knowing(local)
    record, spread, events = expected
    before = believes.get("bob")

    change = believes.apply(rumour(heard, incarnation), now=2.0)

    after = believes.get("bob")
    if record is None:
        assert change is None
        assert after == before
    else:
        assert change is not None
        assert after is not None
        assert (after.status, after.incarnation) == record
        assert tuple(type(event) for event in change.events) == events
    assert ("bob" in believes.rumours) is spread
    assert (believes.suspicion("bob") is not None) is (after is not None and after.status is SUSPECT)


@pytest.mark.parametrize("local", [ALIVE, SUSPECT, DEAD, LEFT])
@pytest.mark.parametrize("heard", [ALIVE, SUSPECT, DEAD, LEFT])
def test_a_newer_generation_wins_whatever_the_incarnation(local: Status, heard: Status) -> None:
    believes = knowing(local)
    believes.apply(rumour(heard, 1, generation=2), now=2.0)
    after = believes.get("bob")
    assert after is not None
    assert (after.generation, after.incarnation, after.status) == (2, 1, heard)


@pytest.mark.parametrize("local", [ALIVE, SUSPECT, DEAD, LEFT])
@pytest.mark.parametrize("heard", [ALIVE, SUSPECT, DEAD, LEFT])
def test_an_older_generation_is_ignored_whatever_the_incarnation(local: Status, heard: Status) -> None:
    believes = knowing(local)
    before = believes.get("bob")
    assert believes.apply(rumour(heard, 99, generation=0), now=2.0) is None
    assert believes.get("bob") == before
    assert not believes.rumours


def test_a_restart_before_anybody_noticed_is_an_update() -> None:
    change = knowing(ALIVE).apply(rumour(ALIVE, 1, generation=2), now=2.0)
    assert change is not None
    assert [type(event) for event in change.events] == [MemberUpdated]


def test_new_metadata_at_a_higher_incarnation_is_an_update() -> None:
    change = knowing(ALIVE).apply(rumour(ALIVE, 6, metadata=Metadata(weight=3)), now=2.0)
    assert change is not None
    assert [type(event) for event in change.events] == [MemberUpdated]
    assert change.member.metadata.weight == 3


def test_a_dead_member_comes_back_from_another_address_with_a_higher_incarnation() -> None:
    believes = knowing(DEAD)
    believes.apply(rumour(ALIVE, 6, address=Address("10.9.9.9", 1)), now=2.0)
    after = believes.get("bob")
    assert after is not None
    assert (after.status, after.address.host) == (ALIVE, "10.9.9.9")


def test_of_two_claims_of_equal_precedence_the_smaller_address_is_kept_and_the_conflict_is_told() -> None:
    for first, second in itertools.permutations(["10.0.0.2", "10.0.0.3"]):
        believes = membership()
        believes.apply(rumour(ALIVE, address=Address(first, 1)), now=1.0)
        change = believes.apply(rumour(ALIVE, address=Address(second, 1)), now=2.0)
        kept = believes.get("bob")
        assert kept is not None
        assert change is not None
        assert kept.address.host == "10.0.0.2"
        (event,) = change.events
        assert isinstance(event, NameConflicted)
        assert (event.member.address.host, event.other.host) == ("10.0.0.2", "10.0.0.3")


# ---------------------------------------------------------------------------------------------------- suspicions


def test_each_other_accuser_confirms_once_and_is_spread_under_its_own_name() -> None:
    believes = membership(others=8)
    begun = believes.apply(rumour(SUSPECT, accuser="a"), now=1.0)
    assert begun is not None
    assert begun.suspicion is not None
    drain(believes)
    first_deadline = begun.suspicion.deadline

    confirmed = believes.apply(rumour(SUSPECT, accuser="b"), now=1.5)
    assert confirmed is not None
    assert confirmed.suspicion is begun.suspicion
    assert confirmed.events == ()
    assert begun.suspicion.deadline < first_deadline
    queued = believes.rumours.get("bob")
    assert queued is not None
    assert queued.accuser == "b"
    drain(believes)

    assert believes.apply(rumour(SUSPECT, accuser="b"), now=1.6) is None
    assert believes.apply(rumour(SUSPECT, accuser="a"), now=1.6) is None
    assert not believes.rumours


def accusations(believes: Membership, accuser: str, count: int) -> int:
    """How many of ``count`` accusations are believed."""
    changes = [
        believes.apply(
            Rumour(member=member(f"other{n}", SUSPECT, host=f"10.0.1.{n}"), accuser=accuser),
            now=1.0,
        )
        for n in range(count)
    ]
    return sum(change is not None for change in changes)


def test_who_alone_accuses_more_than_half_is_not_believed_about_the_rest() -> None:
    believes = membership(others=9)  # ten with us
    assert accusations(believes, "half-deaf", 9) == 5
    assert accusations(membership(others=2), "half-deaf", 2) == 2


def test_accusations_that_others_share_are_no_reason_for_doubt() -> None:
    believes = membership(others=9)
    accusations(believes, "half-deaf", 5)
    assert accusations(believes, "carol", 5) == 5  # confirmations
    assert accusations(believes, "half-deaf", 9) == 4


def test_our_own_probes_and_hearsay_of_deaths_are_believed_however_many() -> None:
    believes = membership(others=9)
    for other in believes.others[:7]:
        assert believes.accuse(other, now=1.0) is not None
    for other in believes.others[7:]:
        assert believes.merge(Rumour(member=dataclasses.replace(other, status=DEAD)), now=1.0) is not None


def test_hearsay_of_suspicions_stops_at_half_as_well() -> None:
    believes = membership(others=9)
    shown = [dataclasses.replace(other, status=SUSPECT) for other in believes.others]
    assert sum(believes.merge(Rumour(member=one, accuser="p"), now=1.0) is not None for one in shown) == 5
    believes = membership(others=9)
    assert sum(believes.merge(Rumour(member=one), now=1.0) is not None for one in shown) == 5


def test_a_suspicion_of_a_higher_incarnation_starts_over() -> None:
    believes = membership(others=8)
    believes.apply(rumour(SUSPECT, accuser="a"), now=1.0)
    believes.apply(rumour(SUSPECT, accuser="b"), now=1.0)
    change = believes.apply(rumour(SUSPECT, 6, accuser="c"), now=3.0)
    assert change is not None
    assert change.suspicion is not None
    assert change.suspicion.accusers == {"c"}
    assert change.suspicion.started == 3.0


def test_a_suspect_that_did_not_speak_up_is_dead() -> None:
    believes = knowing(SUSPECT)
    suspicion = believes.suspicion("bob")
    assert suspicion is not None
    change = believes.declare_dead(suspicion, now=9.0)
    assert change is not None
    assert change.member.status is DEAD
    assert believes.gone_since("bob") == 9.0
    assert [type(event) for event in change.events] == [MemberFailed]


def test_a_suspicion_that_was_refuted_or_replaced_kills_nobody() -> None:
    for newer in (rumour(ALIVE, 6), rumour(SUSPECT, 6)):
        believes = knowing(SUSPECT)
        suspicion = believes.suspicion("bob")
        assert suspicion is not None
        believes.apply(newer, now=3.0)
        assert believes.declare_dead(suspicion, now=9.0) is None
        after = believes.get("bob")
        assert after is not None
        assert after.status.active


def test_proof_of_a_death_buries_that_generation_only() -> None:
    believes = knowing(ALIVE)
    assert believes.bury(NodeId("bob", 2), now=3.0) is None
    change = believes.bury(NodeId("bob", 1), now=3.0)
    assert change is not None
    assert change.member.status is DEAD
    assert believes.bury(NodeId("bob", 1), now=3.0) is None


@pytest.mark.parametrize(("local", "becomes"), [(None, DEAD), (ALIVE, SUSPECT), (SUSPECT, SUSPECT), (LEFT, LEFT)])
def test_hearsay_of_a_death_never_kills_somebody_we_know(local: Status | None, becomes: Status) -> None:
    believes = knowing(local)
    believes.merge(rumour(DEAD), now=2.0)
    after = believes.get("bob")
    assert after is not None
    assert after.status is becomes


def test_hearsay_of_a_death_of_somebody_we_believe_in_is_to_be_looked_into() -> None:
    for local in (None, ALIVE, SUSPECT):
        change = knowing(local).merge(rumour(DEAD), now=2.0)
        assert change is not None
        assert change.hearsay == (local is not None)
    believes = knowing(SUSPECT)
    again = believes.merge(rumour(DEAD), now=3.0)
    assert again is not None
    assert (again.hearsay, again.events, again.suspicion) == (True, (), None)
    assert believes.merge(rumour(DEAD, 4), now=3.0) is None, "that was before it spoke up"
    about_us = believes.merge(Rumour(member=believes.me.turned(DEAD)), now=4.0)
    assert about_us is not None
    assert not about_us.hearsay


def test_hearsay_of_a_death_confirms_a_suspicion_that_runs_already_once_for_each_who_says_so() -> None:
    believes = membership(others=8)
    believes.apply(rumour(ALIVE), now=0.0)
    for source in ("p1", "p2", "p2", "p3"):
        believes.merge(rumour(DEAD), source=source, now=1.0)
    suspicion = believes.suspicion("bob")
    assert suspicion is not None
    assert suspicion.accusers == {"me", "p2", "p3"}, "the first one began it, in our own name"
    assert suspicion.deadline == 1.0 + shortest_suspicion(Profile.lan(), 10)
    assert believes.merge(rumour(DEAD, 4), source="p4", now=2.0) is None, "that was before it spoke up"


def test_hearsay_of_a_suspicion_names_who_accuses_and_nobody_named_is_us() -> None:
    for accuser, named in (("carol", "carol"), ("", "me")):
        believes = knowing(ALIVE)
        believes.merge(rumour(SUSPECT, accuser=accuser), now=2.0)
        suspicion = believes.suspicion("bob")
        assert suspicion is not None
        assert suspicion.accusers == {named}


def test_an_accusation_that_went_through_a_full_state_comes_back_as_no_confirmation() -> None:
    accuser, reader = membership(others=8), membership(others=8, name="reader")
    for believes in (accuser, reader):
        believes.apply(rumour(ALIVE), now=0.0)
    bob = accuser.get("bob")
    assert bob is not None
    accuser.accuse(bob, now=1.0)
    suspected = accuser.get("bob")
    assert suspected is not None
    reader.merge(accuser.told(suspected), now=2.0)
    back = reader.rumours.get("bob")
    assert back is not None
    assert accuser.apply(back, now=3.0) is None
    suspicion = accuser.suspicion("bob")
    assert suspicion is not None
    assert suspicion.confirmations == 0


# ---------------------------------------------------------------------------------------------------- ourselves

# own record alive at incarnation 5: rumour, its incarnation -> our incarnation, refuted?
ABOUT_ME = [
    (ALIVE, 4, 5, False),
    (ALIVE, 5, 5, False),
    (ALIVE, 6, 7, True),
    (SUSPECT, 4, 5, False),
    (SUSPECT, 5, 6, True),
    (SUSPECT, 6, 7, True),
    (DEAD, 4, 5, False),
    (DEAD, 5, 6, True),
    (DEAD, 6, 7, True),
    (LEFT, 4, 5, False),
    (LEFT, 5, 6, True),
    (LEFT, 6, 7, True),
]


@pytest.mark.parametrize(("heard", "incarnation", "ours", "refuted"), ABOUT_ME, ids=row_name)
def test_what_is_said_about_us_is_refuted_if_it_could_be_believed(
    heard: Status, incarnation: int, ours: int, *, refuted: bool
) -> None:
    believes = membership()
    said = Rumour(member=dataclasses.replace(believes.me, status=heard, incarnation=incarnation))
    change = believes.apply(said, now=2.0)
    assert (believes.me.status, believes.me.incarnation) == (ALIVE, ours)
    assert (change is not None and change.refuted) is refuted
    assert believes.health.score == (1 if refuted else 0)
    if refuted:
        queued = believes.rumours.get("me")
        assert queued is not None
        assert queued.member == believes.me


@pytest.mark.parametrize("heard", [ALIVE, SUSPECT, DEAD, LEFT])
@pytest.mark.parametrize("incarnation", [4, 5, 6])
def test_who_has_said_farewell_does_not_argue(heard: Status, incarnation: int) -> None:
    believes = membership()
    change = believes.leave(now=1.0)
    assert [type(event) for event in change.events] == [MemberLeft]
    drain(believes)
    said = Rumour(member=dataclasses.replace(believes.me, status=heard, incarnation=incarnation))
    assert believes.apply(said, now=2.0) is None
    assert believes.me.status is LEFT
    assert not believes.rumours


def test_a_stale_suspicion_of_us_is_answered_at_most_once_a_second() -> None:
    believes = membership()
    stale = Rumour(member=dataclasses.replace(believes.me, status=SUSPECT, incarnation=4))
    spread = []
    for now in (1.0, 1.5, 1.9, 2.1):
        assert believes.apply(stale, now=now) is None
        spread.append("me" in believes.rumours)
        drain(believes)
    assert spread == [True, False, False, True]
    assert believes.health.score == 0


def test_other_contents_at_our_incarnation_are_overruled() -> None:
    believes = membership()
    said = Rumour(member=dataclasses.replace(believes.me, metadata=Metadata(weight=9)))
    believes.apply(said, now=2.0)
    assert (believes.me.incarnation, believes.me.metadata.weight) == (6, 1)


def test_a_rival_with_our_name_and_generation_is_told_and_answered_at_most_once_a_second() -> None:
    believes = membership()
    for incarnation in range(6, 30):
        claim = dataclasses.replace(believes.me, address=Address("10.6.6.6", 1), incarnation=incarnation)
        change = believes.apply(Rumour(member=claim), now=2.0)
        assert (change is not None) is (incarnation == 6)
        if change is not None:
            assert [type(event) for event in change.events] == [NameConflicted]
    assert believes.me.incarnation == 7


def test_a_newer_generation_of_our_name_met_while_joining_is_outbid() -> None:
    believes = Membership(me=member("me", incarnation=1), profile=Profile.lan())
    change = believes.apply(rumour(DEAD, 7, name="me", generation=41), now=1.0)
    assert change is not None
    assert change.refuted
    assert not change.outbid
    assert (believes.me.generation, believes.me.incarnation, believes.me.status) == (42, 1, ALIVE)


@pytest.mark.parametrize("joining", [True, False])
@pytest.mark.parametrize(("generation", "incarnation"), [(1, NUMBER_LIMIT - 1), (NUMBER_LIMIT - 1, 5)])
def test_numbers_that_nothing_readable_exceeds_outbid_us(generation: int, incarnation: int, joining: bool) -> None:
    believes = Membership(me=member("me", host="10.0.0.1"), profile=Profile.lan())
    if not joining:
        believes.joined()
    claim = rumour(SUSPECT, incarnation, name="me", address=Address("10.0.0.1", 7979), generation=generation)
    change = believes.apply(claim, now=1.0)
    assert change is not None
    assert change.outbid or change.evicted
    assert Member.from_wire(believes.me.to_wire()) == believes.me


def test_a_newer_generation_of_our_name_met_later_outbids_us() -> None:
    believes = membership()
    change = believes.apply(rumour(ALIVE, 7, name="me", generation=41), now=1.0)
    assert change is not None
    assert change.outbid or change.evicted
    assert believes.me.generation == 1


def test_new_metadata_of_ours_takes_a_new_incarnation_and_is_spread() -> None:
    believes = membership()
    change = believes.update_metadata(Metadata(weight=7), now=3.0)
    assert [type(event) for event in change.events] == [MemberUpdated]
    assert (believes.me.incarnation, believes.me.metadata.weight) == (6, 7)
    queued = believes.rumours.get("me")
    assert queued is not None
    assert queued.member == believes.me


# ---------------------------------------------------------------------------------------------------- tombstones


def test_tombstones_are_shown_for_half_their_time_and_forgotten_after_all_of_it() -> None:
    believes = knowing(DEAD)  # from 1.0 on
    retention = Profile.lan().tombstone_retention
    assert [each.name for each in believes.state(now=1 + retention / 2)] == ["bob", "me"]
    assert [each.name for each in believes.state(now=2 + retention / 2)] == ["me"]
    assert believes.forget(now=1 + retention) == []
    assert [each.name for each in believes.forget(now=2 + retention)] == ["bob"]
    assert believes.get("bob") is None
    assert believes.former_addresses == (Address("10.0.0.2", 7979),)


def test_addresses_of_the_forgotten_are_bounded() -> None:
    believes = membership()
    for number in range(1100):
        believes.apply(rumour(DEAD, name=f"n{number}", address=Address("10.0.0.2", number + 1)), now=0.0)
    believes.forget(now=1e9)
    assert len(believes.former_addresses) == 1024


def test_the_count_of_active_members_follows_the_records() -> None:
    believes = membership(others=3)
    assert believes.active_count == 4
    believes.apply(rumour(SUSPECT, name="other0", address=Address("10.0.1.0", 7979)), now=1.0)
    assert believes.active_count == 4
    believes.apply(rumour(DEAD, name="other0", address=Address("10.0.1.0", 7979)), now=1.0)
    believes.apply(rumour(LEFT, name="other1"), now=1.0)
    assert believes.active_count == 2
    believes.leave(now=2.0)
    assert believes.active_count == 1


# ---------------------------------------------------------------------------------------------------- invariants

rumours = st.builds(
    rumour,
    st.sampled_from(Status),
    st.integers(1, 4),
    accuser=st.sampled_from("abc"),
    generation=st.integers(1, 3),
    name=st.sampled_from(["bob", "dan"]),
    address=st.builds(Address, st.sampled_from(["10.0.0.2", "10.0.0.3"]), st.just(1)),
    metadata=st.builds(Metadata, weight=st.integers(0, 1)),
)


@given(st.lists(rumours, max_size=8), st.randoms(use_true_random=False))
def test_any_order_and_repetition_ends_in_the_same_records(heard: list[Rumour], rng: random.Random) -> None:
    one, other = membership(), membership()
    for each in heard:
        one.apply(each, now=1.0)
    shuffled = [*heard, *heard]
    rng.shuffle(shuffled)
    for each in shuffled:
        other.apply(each, now=1.0)
    assert one.members == other.members


@given(st.lists(rumours, max_size=30))
def test_what_always_holds(heard: list[Rumour]) -> None:
    believes = membership()
    active: set[str] = set()
    for now, each in enumerate(heard):
        before = believes.get(each.member.name)
        change = believes.apply(each, now=now)
        after = believes.get(each.member.name)
        assert after is not None
        # a record never goes back
        assert before is None or after == before or after.supersedes(before)
        # a repetition is no news
        assert believes.apply(each, now=now) is None or not each.member.supersedes(after)
        # a suspicion belongs to a suspect, one each
        for known in believes.others:
            assert (believes.suspicion(known.name) is not None) is (known.status is SUSPECT)
            queued = believes.rumours.get(known.name)
            assert queued is None or queued.member == known
        # joined comes first, and before every other event of an active member
        for event in change.events if change else ():
            if isinstance(event, MemberJoined):
                assert event.member.name not in active
                active.add(event.member.name)
            elif isinstance(event, MemberFailed):
                assert event.member.name in active
                active.discard(event.member.name)
            elif isinstance(event, MemberLeft):
                active.discard(event.member.name)
            elif not isinstance(event, NameConflicted):
                assert event.member.name in active  # type: ignore[union-attr]  # Resynced comes from the driver only
        assert active == {known.name for known in believes.others if known.status.active}
    assert believes.active_count == 1 + len(active)


@given(st.lists(st.tuples(rumours, st.booleans()), max_size=30))
def test_only_what_changed_a_record_or_confirmed_a_suspicion_is_queued(heard: list[tuple[Rumour, bool]]) -> None:
    believes = membership()
    for now, (each, in_a_state) in enumerate(heard):
        changes = []
        for _ in range(2):
            drain(believes)
            if in_a_state:
                changes.append(believes.merge(each, now=now))
            else:
                changes.append(believes.apply(each, now=now))
            queued = believes.rumours.get(each.member.name)
            assert queued is None or (changes[-1] is not None and queued.member == changes[-1].member)
            assert len(believes.rumours) == (queued is not None)
        assert each.member.name not in believes.rumours, "a repetition queues nothing"


@given(st.lists(rumours, max_size=30))
def test_what_is_passed_over_as_no_news_would_have_changed_nothing(heard: list[Rumour]) -> None:
    believes, careful = membership(), membership()
    for now, each in enumerate(heard):
        careful.apply(each, now=now)
        for rumour_heard in believes.news_in([each, each]):
            believes.apply(rumour_heard, now=now)
        assert believes.members == careful.members
        assert [each.accusers for each in believes.suspicions] == [each.accusers for each in careful.suspicions]


def test_a_record_that_we_have_is_no_news_unless_its_accuser_is() -> None:
    believes = membership(others=8)
    accused = rumour(SUSPECT, accuser="carol")
    believes.apply(accused, now=0.0)
    others = [Rumour(member=accused.member, accuser=accuser) for accuser in ("carol", "dave")]
    assert believes.news_in([accused, *others, Rumour(member=accused.member)]) == others[1:]


@given(st.lists(st.builds(rumour, st.sampled_from(Status), st.integers(1, 9), name=st.just("me")), max_size=20))
def test_after_a_refutation_our_incarnation_is_above_every_accusation(heard: list[Rumour]) -> None:
    believes = membership()
    for now, each in enumerate(heard):
        said = Rumour(member=dataclasses.replace(each.member, address=believes.me.address), accuser=each.accuser)
        believes.apply(said, now=float(now))
        accused = each.member.status is not ALIVE
        assert believes.me.incarnation > each.member.incarnation or not accused or each.member.incarnation < 5
        assert believes.me.status is ALIVE
