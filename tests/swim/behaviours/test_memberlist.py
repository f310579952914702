"""What the tests of hashicorp/memberlist assert, where no other test of ours says it; see docs/spec/conformance.md."""

from __future__ import annotations

import dataclasses

import pytest

from swimring.codec import encode
from swimring.identity import Address, NodeId
from swimring.swim import (
    Dissemination,
    Member,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    Metadata,
    Profile,
    Rumour,
    Status,
    Suspicion,
)
from tests.swim.records import drain, member, membership, rumour

ALIVE, SUSPECT, DEAD, LEFT = Status


def test_a_first_rumour_of_a_member_makes_a_record_one_event_and_one_queued_rumour() -> None:
    believes = membership()
    change = believes.apply(rumour(ALIVE, 1), now=7.0)
    assert change is not None
    assert [type(event) for event in change.events] == [MemberJoined]
    bob = believes.get("bob")
    assert bob is not None
    assert (bob.status, bob.incarnation) == (ALIVE, 1)
    assert len(believes.rumours) == 1


def test_the_same_incarnation_does_not_clear_a_suspect_and_the_next_one_does() -> None:
    believes = membership()
    believes.apply(rumour(SUSPECT, 5), now=1.0)
    drain(believes)
    assert believes.apply(rumour(ALIVE, 5), now=2.0) is None
    change = believes.apply(rumour(ALIVE, 6), now=3.0)
    assert change is not None
    assert not any(isinstance(event, MemberJoined) for event in change.events)
    assert change.member.status is ALIVE
    assert len(believes.rumours) == 1


def test_a_higher_incarnation_of_somebody_alive_is_no_event() -> None:
    believes = membership()
    believes.apply(rumour(ALIVE, 5), now=1.0)
    change = believes.apply(rumour(ALIVE, 6), now=2.0)
    assert change is not None
    assert change.events == ()


def test_what_others_say_of_our_metadata_changes_nothing_but_our_incarnation() -> None:
    believes = membership()
    claim = dataclasses.replace(believes.me, incarnation=9, metadata=Metadata(weight=9))
    believes.apply(Rumour(member=claim), now=1.0)
    assert believes.me.metadata == Metadata()
    assert (believes.me.status, believes.me.incarnation) == (ALIVE, 10)
    (queued,) = believes.rumours.take(budget=10_000, limit=9)
    assert queued.member == believes.me


@pytest.mark.parametrize("heard", [SUSPECT, DEAD])
def test_a_rumour_against_us_queues_one_answer_and_costs_one_point_of_health(heard: Status) -> None:
    believes = membership()
    against = dataclasses.replace(believes.me, status=heard)
    believes.apply(Rumour(member=against, accuser="carol" if heard is SUSPECT else ""), now=1.0)
    assert believes.health.score == 1
    (queued,) = believes.rumours.take(budget=10_000, limit=9)
    assert queued.member.status is ALIVE


def test_a_repeated_or_older_suspicion_is_not_passed_on() -> None:
    believes = membership(others=9)
    believes.apply(rumour(ALIVE, 5), now=0.0)
    believes.apply(rumour(SUSPECT, 5, accuser="carol"), now=1.0)
    drain(believes)
    assert believes.apply(rumour(SUSPECT, 5, accuser="carol"), now=2.0) is None
    assert believes.apply(rumour(SUSPECT, 4, accuser="dave"), now=2.0) is None
    assert len(believes.rumours) == 0


def test_a_death_takes_the_place_of_the_suspicion_in_the_queue() -> None:
    believes = membership()
    change = believes.apply(rumour(SUSPECT, 5), now=1.0)
    assert change is not None
    assert change.suspicion is not None
    dead = believes.declare_dead(change.suspicion, now=9.0)
    assert dead is not None
    assert [type(event) for event in dead.events] == [MemberFailed]
    assert believes.gone_since("bob") == 9.0
    (queued,) = believes.rumours.take(budget=10_000, limit=9)
    assert queued.member.status is DEAD


def test_who_left_comes_back_from_another_address_with_other_metadata() -> None:
    believes = membership()
    believes.apply(rumour(ALIVE, 5), now=1.0)
    believes.apply(rumour(LEFT, 5), now=2.0)
    back = member(incarnation=6, host="10.9.9.9", metadata=Metadata(weight=3))
    change = believes.apply(Rumour(member=back), now=3.0)
    assert change is not None
    assert [type(event) for event in change.events] == [MemberJoined]
    assert (change.member.address, change.member.metadata) == (Address("10.9.9.9", 7979), Metadata(weight=3))


def test_merging_a_state_clears_suspects_accuses_the_living_and_adds_the_unknown() -> None:
    believes = membership(others=3)
    for name in ("cleared", "accused", "mourned"):
        believes.apply(Rumour(member=member(name, incarnation=1)), now=0.0)
    believes.apply(Rumour(member=member("cleared", SUSPECT, 1), accuser="carol"), now=0.0)
    shown = [member("cleared", ALIVE, 2), member("accused", SUSPECT, 1), member("mourned", DEAD, 1), member("new")]
    changes = [believes.merge(Rumour(member=record), now=1.0) for record in shown]
    statuses = [record.status for name in ("cleared", "accused", "mourned", "new") if (record := believes.get(name))]
    assert statuses == [ALIVE, SUSPECT, SUSPECT, ALIVE]
    assert changes[3] is not None
    assert [type(event) for event in changes[3].events] == [MemberJoined]


SHORT = dataclasses.replace(
    Profile.lan(),
    probe_interval=0.1,
    probe_timeout=0.05,
    suspicion_alpha=5,
    suspicion_beta=2,
    suspicion_confirmations=3,
)


def suspicion(members: int, confirmations: int) -> Suspicion:
    suspected = Suspicion(suspect=NodeId("bob", 1), incarnation=1, accuser="a", now=0, members=members, profile=SHORT)
    for number in range(confirmations):
        suspected.confirm(f"c{number}")
    return suspected


@pytest.mark.parametrize(
    ("members", "confirmations", "milliseconds"),
    [(2, 0, 500), (3, 0, 500), (6, 0, 1000), (6, 1, 750), (6, 2, 604), (6, 3, 500), (6, 4, 500)],
)
def test_the_matrix_of_suspicions(members: int, confirmations: int, milliseconds: int) -> None:
    assert suspicion(members, confirmations).deadline == pytest.approx(milliseconds / 1000, abs=0.025)


def test_a_confirmation_can_end_a_suspicion_at_once() -> None:
    late = suspicion(6, 2)
    assert late.deadline > 0.6
    assert late.confirm("c9")
    assert late.deadline <= 0.5  # that is past


def test_four_rumours_with_a_limit_of_two_are_drawn_three_three_and_two_times() -> None:
    queue = Dissemination()
    for number in range(4):
        queue.put(Rumour(member=member(f"m{number}")))
    size = len(encode(Rumour(member=member("m0")).to_wire()))
    assert [len(queue.take(budget=3 * size, limit=2)) for _ in range(4)] == [3, 3, 2, 0]


def test_an_update_of_metadata_is_told_once_with_the_new_contents() -> None:
    believes = membership()
    believes.apply(rumour(ALIVE, 5), now=1.0)
    newer = Rumour(member=member(incarnation=6, metadata=Metadata(weight=2)))
    change = believes.apply(newer, now=2.0)
    assert change is not None
    assert change.events == (MemberUpdated(member=newer.member),)
    assert believes.apply(newer, now=3.0) is None


def test_a_farewell_is_left_and_not_failed() -> None:
    believes = membership()
    believes.apply(rumour(ALIVE, 5), now=1.0)
    change = believes.apply(rumour(LEFT, 5), now=2.0)
    assert change is not None
    assert [type(event) for event in change.events] == [MemberLeft]


def test_members_are_values_that_nobody_can_change() -> None:
    believes = membership(others=1)
    snapshot = believes.members
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot[0].status = DEAD  # type: ignore[misc]  # that it is refused is the point
    believes.apply(rumour(ALIVE, 5), now=1.0)
    assert len(snapshot) == 2
    assert isinstance(snapshot[0], Member)
