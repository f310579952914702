"""What one node has heard, what it remembers of it, and what it passes on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.codec import encode
from swimring.errors import LocalProtocolError
from swimring.identity import NodeId
from swimring.swim import (
    REMEMBERED,
    Ack,
    Broadcast,
    BroadcastQueue,
    Broadcasts,
    Dissemination,
    Envelope,
    Gossip,
    Metadata,
    Ping,
    Profile,
    Rumour,
    decode_frame,
    encode_datagram,
    encode_frame,
    room_for_broadcasts,
    room_for_rumours,
)
from tests.swim.records import member

if TYPE_CHECKING:
    import random

ALICE = NodeId("alice", 1)
LONG = "x" * 128


def said(time: int = 1, name: str = "deploy", *, origin: NodeId = ALICE, padding: int = 0) -> Broadcast:
    return Broadcast(time=time, origin=origin, name=name, encoded=encode("x" * padding))


def say(broadcasts: Broadcasts, name: str = "deploy", payload: object = None) -> Broadcast:
    return broadcasts.say(name, payload, origin=NodeId("me", 1), limit=512, members=3)


def size(each: Broadcast) -> int:
    return len(encode(each.to_wire()))


# ------------------------------------------------------------------------------------------------- saying, hearing


def test_what_follows_from_a_broadcast_has_a_greater_time() -> None:
    one, two = Broadcasts(), Broadcasts()
    first = say(one)
    assert two.hear(first, members=3)
    answer = say(two)
    assert one.hear(answer, members=3)
    assert sorted([say(one), answer, first], key=lambda each: each.order)[:2] == [first, answer]


def test_a_broadcast_is_heard_and_queued_once() -> None:
    broadcasts = Broadcasts()
    assert [broadcasts.hear(said(), members=3) for _ in range(3)] == [True, False, False]
    assert len(broadcasts.queue) == 1
    while broadcasts.queue:
        broadcasts.queue.take(budget=1000, limit=4)
    assert not broadcasts.hear(said(), members=3)
    assert len(broadcasts.queue) == 0


def test_broadcasts_of_one_time_are_heard_once_each() -> None:
    same_time = [
        said(), said(name="other"), said(padding=1), said(origin=NodeId("bob", 1)), said(origin=NodeId("alice", 2)),
    ]  # fmt: skip
    broadcasts = Broadcasts()
    assert [broadcasts.hear(each, members=3) for each in same_time * 2] == [True] * 5 + [False] * 5


def test_our_own_broadcast_is_not_heard_again() -> None:
    broadcasts = Broadcasts()
    assert not broadcasts.hear(say(broadcasts), members=3)


def test_what_is_older_than_all_that_is_remembered_is_neither_heard_nor_passed_on() -> None:
    broadcasts = Broadcasts()
    for time in range(2, REMEMBERED + 3):
        assert broadcasts.hear(said(time), members=3)
    assert len(broadcasts.recall().ids) == REMEMBERED
    assert broadcasts.recap.floor == 2
    queued = len(broadcasts.queue)
    assert not broadcasts.hear(said(1), members=3)
    assert not broadcasts.hear(said(2), members=3)
    assert (len(broadcasts.queue), broadcasts.ignored) == (queued, 2)


def test_nonsense_is_ignored_and_does_not_move_the_clock() -> None:
    broadcasts = Broadcasts()
    for nonsense in (said(0), said(1 << 33), dataclasses.replace(said(), encoded=b"\xff")):
        assert not broadcasts.hear(nonsense, members=3)
    assert (broadcasts.clock.time, broadcasts.ignored, len(broadcasts.queue)) == (0, 3, 0)


@pytest.mark.parametrize(
    ("name", "payload", "text"),
    [
        ("deploy", "x" * 512, "broadcast 'deploy': 522 bytes with its name, more than 512"),
        ("", None, "a name is text of 1 to 128 characters"),
        ("n" * 129, None, "a name is text of 1 to 128 characters"),
        (5, None, "a name is text of 1 to 128 characters, found 5"),
        ("deploy", object(), "cannot be encoded|no place on the wire"),
    ],
)
def test_what_cannot_be_said_is_an_error_and_nothing_is_queued(name: str, payload: object, text: str) -> None:
    broadcasts = Broadcasts()
    with pytest.raises(LocalProtocolError, match=text):
        say(broadcasts, name, payload)
    assert (len(broadcasts.queue), broadcasts.clock.time) == (0, 0)


def test_what_is_as_large_as_allowed_can_be_said() -> None:
    assert say(Broadcasts(), "deploy", "x" * 502).payload == "x" * 502


def test_a_broadcast_as_large_as_allowed_fits_into_any_sealed_datagram() -> None:
    largest = Profile.lan().largest_broadcast
    most = (1 << 62) - 1
    far = NodeId(LONG, most)
    one = Broadcast(time=most, origin=far, name=LONG, encoded=b"x" * (largest - len(encode(LONG))))
    for message in (Ack(checksum=(1 << 64) - 1, lag=59.9), Ping(checksum=(1 << 64) - 1), Gossip()):
        envelope = Envelope(source=far, incarnation=most, destination=far, sequence=most, message=message)
        assert len(encode_datagram(dataclasses.replace(envelope, broadcasts=(one,)), key=bytes(16))) <= 1400 - 49
        assert size(one) <= room_for_broadcasts(envelope, budget=1400 - 49)
    assert dataclasses.replace(Profile.lan(), broadcast_limit=5000).largest_broadcast == 870


# ----------------------------------------------------------------------------------------------------- comparing


def exchange(dialler: Broadcasts, listener: Broadcasts) -> list[Broadcast]:
    """What two members do that have exchanged states before; the broadcasts that crossed the wire."""
    if not (dialler.differs(listener.recap) | listener.differs(dialler.recap)):
        return []
    asked, answered = dialler.recall(), listener.recall()
    wanted_there, wanted_here = listener.lacks(asked), dialler.lacks(answered)
    there, here = dialler.news_for(answered), listener.named(wanted_here)
    assert {each.id for each in there} == set(wanted_there)
    assert [listener.hear(each, members=3) for each in there] == [True] * len(there)
    assert [dialler.hear(each, members=3) for each in here] == [True] * len(here)
    return [*there, *here]


def test_two_members_show_each_other_what_the_other_one_missed_and_nothing_else() -> None:
    one, two = Broadcasts(), Broadcasts()
    both = say(one)
    two.hear(both, members=3)
    mine, yours = say(one), say(two, "other")
    assert exchange(one, two) == [mine, yours]
    assert exchange(two, one) == []
    assert one.recap == two.recap or one.recap.checksum == two.recap.checksum


def test_clocks_meet_and_do_not_push_each_other_up() -> None:
    one, two = Broadcasts(), Broadcasts()
    for _ in range(5):
        say(one)
    for _ in range(20):
        exchange(one, two)
    assert (one.clock.time, two.clock.time) == (6, 6)


def test_who_joins_takes_what_was_said_for_heard() -> None:
    old, new = Broadcasts(), Broadcasts()
    before = say(old)
    assert new.differs(old.recap)
    new.take_for_heard(new.lacks(old.recall()))
    assert not new.hear(before, members=3)
    assert not new.differs(old.recap)
    assert new.hear(say(old), members=3)
    assert new.named([before.id]) == [], "and it cannot tell anybody what that was"


def test_members_that_have_forgotten_other_things_agree_on_the_later_floor() -> None:
    one, two = Broadcasts(), Broadcasts()
    for time in range(1, REMEMBERED + 10):
        one.hear(said(time), members=3)
    for time in range(1, 20):
        two.hear(said(time), members=3)
    exchange(one, two)
    assert one.recap == two.recap
    assert exchange(two, one) == []


class Four:
    """Nodes, what was said by any of them, and what each has heard."""

    def __init__(self) -> None:
        self.nodes = [Broadcasts() for _ in range(4)]
        self.said: list[Broadcast] = []
        self.heard: list[list[Broadcast]] = [[] for _ in self.nodes]

    def say(self, one: int, payload: int) -> None:
        mine = self.nodes[one].say("x", payload, origin=NodeId(f"n{one}", 1), limit=512, members=4)
        self.said.append(mine)
        self.heard[one].append(mine)

    def tell(self, one: int, other: int) -> None:
        self._hear(other, self.nodes[one].queue.take(budget=100, limit=2))

    def meet(self, one: int, other: int) -> None:
        dialler, listener = self.nodes[one], self.nodes[other]
        dialler.differs(listener.recap)
        listener.differs(dialler.recap)
        theirs = listener.recall()
        wanted = dialler.lacks(theirs)
        self._hear(other, dialler.news_for(theirs))
        self._hear(one, listener.named(wanted))

    def _hear(self, number: int, told: list[Broadcast]) -> None:
        self.heard[number] += [each for each in told if self.nodes[number].hear(each, members=4)]


def test_all_that_is_remembered_is_recalled_in_one_frame() -> None:
    most = (1 << 62) - 1
    far = NodeId(LONG, most)
    broadcasts = Broadcasts()
    for time in range(1, REMEMBERED + 1):
        broadcasts.hear(said(time), members=3)
    envelope = Envelope(source=far, incarnation=most, destination=far, message=broadcasts.recall())
    assert decode_frame(encode_frame(envelope, key=bytes(16)), key=bytes(16)) == envelope


@given(st.lists(st.tuples(st.sampled_from(["say", "tell", "meet"]), st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_whatever_is_lost_on_the_way_everybody_hears_everything_once(steps: list[tuple[str, int, int]]) -> None:
    four = Four()
    for step, one, other in steps:
        if step == "say" or one != other:
            getattr(four, step)(one, other)
    for one, other in ((0, 1), (1, 2), (2, 3), (1, 2), (0, 1)):
        four.meet(one, other)
    assert len({node.recap.checksum for node in four.nodes}) == 1
    everything = sorted(four.said, key=lambda each: each.order)
    assert [sorted(each, key=lambda one: one.order) for each in four.heard] == [everything] * 4


# ---------------------------------------------------------------------------------------------------------- queue


def queue_of(*broadcasts: Broadcast) -> BroadcastQueue:
    queue = BroadcastQueue()
    for each in broadcasts:
        queue.put(each, members=3)
    return queue


def test_the_least_sent_go_first_then_the_older() -> None:
    first, second, third = said(1), said(2), said(3)
    queue = queue_of(first, second)
    assert queue.take(budget=size(first) + 1, limit=9) == [first]
    queue.put(third, members=3)
    assert queue.take(budget=1000, limit=9) == [second, third, first]


def test_what_does_not_fit_leaves_its_room_to_smaller_ones() -> None:
    large, small = said(1, padding=200), said(2)
    assert queue_of(large, small).take(budget=size(small) + 5, limit=9) == [small]


def test_a_broadcast_is_sent_as_often_as_the_limit_says() -> None:
    queue = queue_of(said(1), said(2), said(3), said(4))
    assert [len(queue.take(budget=3 * size(said(1)), limit=2)) for _ in range(4)] == [3, 3, 2, 0]
    assert len(queue) == 0


def test_nobody_is_told_what_it_said_itself_and_yet_that_ends() -> None:
    queue = queue_of(said())
    assert [queue.take(budget=1000, limit=2, receiver="alice") for _ in range(2)] == [[], []]
    assert len(queue) == 0


def test_a_full_queue_sheds_what_was_sent_most_and_holds_more_in_a_large_cluster() -> None:
    queue = queue_of(*[said(time) for time in range(1, REMEMBERED + 1)])
    (sent,) = queue.take(budget=size(said(1)), limit=9)
    assert queue.full(members=2048)
    assert not queue.full(members=2049)
    queue.put(said(REMEMBERED + 1), members=3)
    assert (len(queue), queue.shed) == (REMEMBERED, 1)
    packets = iter(lambda: queue.take(budget=100_000, limit=1), [])
    assert sent not in [each for packet in packets for each in packet]


def test_a_quarter_of_the_room_is_kept_or_what_the_first_one_needs() -> None:
    assert BroadcastQueue().share(1000) == 0
    assert queue_of(said()).share(1000) == 250
    large = said(padding=400)
    assert queue_of(large).share(1000) == size(large) + 5
    assert queue_of(large).share(300) == 75, "it does not fit, and keeps nothing from the others"


@given(st.randoms(use_true_random=False), st.integers(0, 15), st.integers(0, 8), st.booleans())
def test_packets_of_both_kinds_hold_their_budget_repeat_nothing_and_starve_nobody(
    rng: random.Random, rumours: int, broadcasts: int, sealed: bool
) -> None:
    budget = 1400 - (49 if sealed else 0)
    spread, told = Dissemination(), BroadcastQueue()
    for number in range(rumours):
        tags = {"p": "x" * rng.randrange(200)}
        spread.put(Rumour(member=member(f"n{number}", metadata=Metadata(tags=tags))))
    for number in range(broadcasts):
        told.put(said(number + 1, padding=rng.randrange(480)), members=3)
    while spread or told:
        envelope = Envelope(source=ALICE, incarnation=1, destination=NodeId("bob", 1), message=Ping(checksum=1))
        room = room_for_rumours(envelope, budget=budget)
        first = told.take(budget=0, limit=9)
        both = bool(spread) and bool(told)
        packet = spread.take(budget=room - told.share(room), limit=4)
        envelope = dataclasses.replace(envelope, rumours=tuple(packet))
        chosen = told.take(budget=room_for_broadcasts(envelope, budget=budget), limit=4)
        assert first == []
        assert len(encode_datagram(dataclasses.replace(envelope, broadcasts=tuple(chosen)), key=bytes(16))) <= budget
        assert len({each.member.name for each in packet}) == len(packet)
        assert len({each.id for each in chosen}) == len(chosen)
        if both:
            assert packet
            assert chosen
