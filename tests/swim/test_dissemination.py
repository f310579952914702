"""Which rumours go into a packet."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from swimring.codec import encode
from swimring.swim import Dissemination, Metadata, Rumour, Status
from tests.swim.records import member, rumour


def about(name: str, *, padding: int = 0, incarnation: int = 1, status: Status = Status.ALIVE) -> Rumour:
    metadata = Metadata(tags={"p": "x" * padding}) if padding else Metadata()
    return Rumour(member=member(name, status, incarnation, metadata=metadata))


def names(rumours: list[Rumour]) -> list[str]:
    return [each.member.name for each in rumours]


def size(each: Rumour) -> int:
    return len(encode(each.to_wire()))


def test_the_least_sent_go_first_then_the_larger_then_the_newer() -> None:
    queue = Dissemination()
    for each in (about("old"), about("new"), about("large", padding=40)):
        queue.put(each)
    assert names(queue.take(budget=10_000, limit=9)) == ["large", "new", "old"]
    queue.put(about("fresh"))
    assert names(queue.take(budget=10_000, limit=9)) == ["fresh", "large", "new", "old"]


def test_what_does_not_fit_leaves_its_room_to_smaller_ones() -> None:
    queue = Dissemination()
    small, large = about("small"), about("large", padding=200)
    queue.put(small)
    queue.put(large)
    assert names(queue.take(budget=size(small) + 5, limit=9)) == ["small"]


def test_a_newer_rumour_replaces_the_older_one_about_the_same_member() -> None:
    queue = Dissemination()
    queue.put(about("bob", incarnation=1))
    queue.take(budget=10_000, limit=2)
    queue.put(about("bob", incarnation=2))
    assert len(queue) == 1
    taken = [queue.take(budget=10_000, limit=2) for _ in range(3)]
    assert [[each.member.incarnation for each in packet] for packet in taken] == [[2], [2], []]


def test_a_rumour_is_sent_as_often_as_the_limit_says() -> None:
    queue = Dissemination()
    for number in range(4):
        queue.put(about(f"n{number}"))
    budget = 3 * size(about("n0"))
    assert [len(queue.take(budget=budget, limit=2)) for _ in range(4)] == [3, 3, 2, 0]


def test_who_is_accused_hears_of_it_first() -> None:
    queue = Dissemination()
    queue.put(rumour(Status.SUSPECT, 1, name="bob"))
    queue.take(budget=10_000, limit=9)
    queue.put(about("carol"))
    assert names(queue.take(budget=10_000, limit=9, receiver="bob")) == ["bob", "carol"]


def test_nobody_is_told_that_he_is_alive_and_yet_that_rumour_ends() -> None:
    queue = Dissemination()
    queue.put(about("bob"))
    assert queue.take(budget=10_000, limit=2, receiver="bob") == []
    assert queue.take(budget=10_000, limit=2, receiver="bob") == []
    assert not queue


def test_a_packet_has_at_most_one_rumour_about_a_member() -> None:
    queue = Dissemination()
    queue.put(about("bob"))
    queue.put(about("carol"))
    assert names(queue.take(budget=10_000, limit=9, besides="bob")) == ["carol"]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 200)), max_size=20),
    st.lists(st.integers(0, 700), max_size=20),
)
def test_no_packet_exceeds_its_budget_or_repeats_a_member(puts: list[tuple[str, int]], budgets: list[int]) -> None:
    queue = Dissemination()
    for name, padding in puts:
        queue.put(about(name, padding=padding))
    for budget in budgets:
        taken = queue.take(budget=budget, limit=4)
        assert sum(size(each) for each in taken) <= budget
        assert len(set(names(taken))) == len(taken)


@dataclass
class Waiting:
    rumour: Rumour
    number: int
    sent: int = 0

    def rank(self, receiver: str) -> tuple[bool, int, int, int]:
        return (self.rumour.member.name != receiver, self.sent, -size(self.rumour), -self.number)


class Plain:
    """The order in words: sorts everything for each packet."""

    def __init__(self) -> None:
        self.queued: dict[str, Waiting] = {}
        self.count = 0

    def put(self, each: Rumour) -> None:
        self.count += 1
        self.queued[each.member.name] = Waiting(each, self.count)

    def take(self, *, budget: int, limit: int, receiver: str, besides: str) -> list[Rumour]:
        chosen = []
        for waiting in sorted(self.queued.values(), key=lambda it: it.rank(receiver)):
            each, name = waiting.rumour, waiting.rumour.member.name
            untold = name == besides or (name == receiver and each.member.status is Status.ALIVE)
            if untold or size(each) <= budget:
                waiting.sent += 1
                if waiting.sent >= limit:
                    del self.queued[name]
                if not untold:
                    chosen.append(each)
                    budget -= size(each)
        return chosen


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(0, 12), st.sampled_from([0, 0, 0, 20, 90]), st.sampled_from(Status)),
            st.tuples(st.integers(0, 400), st.sampled_from(["", "n1", "n2"]), st.sampled_from(["", "n1", "n3"])),
        ),
        max_size=60,
    )
)
def test_packets_are_filled_as_if_everything_were_sorted_for_each(steps: list[tuple[int, int | str, object]]) -> None:
    queue, plain = Dissemination(), Plain()
    for number, what, more in steps:
        if isinstance(more, Status) and isinstance(what, int):
            each = about(f"n{number}", padding=what, status=more)
            queue.put(each)
            plain.put(each)
        elif isinstance(what, str) and isinstance(more, str):
            taken = [q.take(budget=number, limit=3, receiver=what, besides=more) for q in (queue, plain)]
            assert taken[0] == taken[1]
        assert len(queue) == len(plain.queued)
