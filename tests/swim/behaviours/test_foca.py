"""What the tests of caio/foca assert, where no other test of ours says it; see docs/spec/conformance.md."""

from __future__ import annotations

import dataclasses

import pytest

from swimring.gossip.rounds import Round
from swimring.identity import NodeId
from swimring.swim import Ack, Envelope, MemberJoined, Message, Nack, Rumour, Status
from tests.swim.records import drain, member, membership, rumour

ALIVE, SUSPECT, DEAD, LEFT = Status


def test_of_unknown_members_the_living_and_the_suspects_join_and_the_dead_are_only_remembered() -> None:
    believes = membership()
    heard = [member("a", ALIVE, 3), member("s", SUSPECT, 1), member("d", DEAD, 1)]
    changes = [believes.apply(Rumour(member=each, accuser="carol"), now=1.0) for each in heard]
    told = [[type(event) for event in change.events] for change in changes if change is not None]
    assert told == [[MemberJoined], [MemberJoined], []]
    assert {name for name in "asd" if name in believes.rumours} == {"a", "s"}


@pytest.mark.parametrize("limit", [1, 4, 8])
def test_every_rumour_is_sent_as_often_as_the_limit_says_whoever_the_receivers_are(limit: int) -> None:
    believes = membership()
    for name in "abc":
        believes.apply(Rumour(member=member(name)), now=1.0)
    sent: list[str] = []
    for packet in range(3 * limit):
        taken = believes.rumours.take(budget=150, limit=limit, receiver=f"receiver{packet}")
        sent += [each.member.name for each in taken]
    assert {name: sent.count(name) for name in "abc"} == dict.fromkeys("abc", limit)


def test_hearing_of_a_death_again_does_not_prolong_the_tombstone() -> None:
    believes = membership()
    believes.apply(rumour(DEAD, 5), now=1.0)
    believes.apply(rumour(DEAD, 5), now=50_000.0)
    assert believes.forget(now=1.0 + 24 * 3600 + 1) != []


def test_a_stale_suspicion_does_not_raise_the_incarnation_again() -> None:
    believes = membership()
    against = dataclasses.replace(believes.me, status=SUSPECT)
    for _ in range(3):
        believes.apply(Rumour(member=against, accuser="carol"), now=1.0)
    assert believes.me.incarnation == against.incarnation + 1


def test_nothing_is_learnt_about_an_earlier_life_of_ours() -> None:
    believes = membership()
    before = believes.me
    for status in Status:
        earlier = dataclasses.replace(before, generation=0, incarnation=99, status=status)
        assert believes.apply(Rumour(member=earlier, accuser="carol"), now=1.0) is None
    assert believes.me == before


def test_a_restarted_member_is_not_killed_by_the_suspicion_of_its_earlier_life() -> None:
    believes = membership()
    change = believes.apply(rumour(SUSPECT, 5), now=1.0)
    assert change is not None
    assert change.suspicion is not None
    believes.apply(rumour(ALIVE, 1, generation=2), now=2.0)
    assert believes.declare_dead(change.suspicion, now=99.0) is None
    bob = believes.get("bob")
    assert bob is not None
    assert (bob.generation, bob.status) == (2, ALIVE)


def test_there_is_one_record_per_name_whatever_its_lives() -> None:
    believes = membership()
    for generation in range(1, 6):
        believes.apply(rumour(ALIVE, 1, generation=generation), now=1.0)
        assert len(believes.rumours) == 1
    assert len(believes.members) == 2


# ---------------------------------------------------------------------------------------------------- rounds


def answer(message: Message, source: NodeId) -> Envelope:
    return Envelope(source=source, incarnation=1, sequence=1, message=message)


TARGET, HELPER, OTHER = NodeId("target", 2), NodeId("helper", 1), NodeId("other", 1)


@pytest.fixture
def asking() -> Round:
    asking = Round(1, TARGET)
    asking.asked.add("helper")
    return asking


@pytest.mark.parametrize("source", [TARGET, HELPER])
def test_one_ack_of_the_target_or_of_somebody_who_was_asked_is_enough(asking: Round, source: NodeId) -> None:
    asking.take(answer(Ack(), source))
    assert asking.acked.is_set()


@pytest.mark.parametrize("source", [OTHER, NodeId("target", 1)], ids=["nobody we asked", "an earlier life"])
def test_an_ack_of_anybody_else_counts_nothing(asking: Round, source: NodeId) -> None:
    asking.take(answer(Ack(), source))
    asking.take(answer(Nack(), source))
    assert not asking.acked.is_set()
    assert asking.nacked == set()


def test_an_ack_after_a_nack_still_counts(asking: Round) -> None:
    asking.take(answer(Nack(), HELPER))
    assert asking.nacked == {"helper"}
    asking.take(answer(Ack(), HELPER))
    assert asking.acked.is_set()


def test_applying_records_without_spreading_leaves_nothing_queued() -> None:
    believes = membership()
    for name in "abc":
        believes.apply(Rumour(member=member(name, LEFT)), now=1.0)
    assert len(believes.rumours) == 0
    drain(believes)
