"""Random members for gossip, relays and exchanges; and the count that decides whether an accuser overdoes it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.swim import Member, Rumour, Status
from tests.swim.records import member, membership


def ends_with_zero(each: Member) -> bool:
    return each.name.endswith("0")


@pytest.mark.parametrize("others", [0, 1, 2, 3, 50])
def test_a_sample_has_as_many_others_as_there_are_and_never_oneself(others: int) -> None:
    believes = membership(others=others)
    for seed in range(50):
        names = [each.name for each in believes.sample(random.Random(seed), 3, lambda _each: True)]
        assert len(names) == len(set(names)) == min(3, others)
        assert "me" not in names


@pytest.mark.parametrize(("others", "wanted"), [(9, 1), (60, 6)])
def test_the_few_that_are_wanted_are_found_among_many(others: int, wanted: int) -> None:
    believes = membership(others=others)
    for seed in range(50):
        found = believes.sample(random.Random(seed), 9, ends_with_zero)
        assert {each.name for each in found} == {f"other{number * 10}" for number in range(wanted)}


@pytest.mark.parametrize("others", [4, 30])
def test_all_that_are_wanted_are_equally_likely(others: int) -> None:
    believes, rng = membership(others=others), random.Random(7)
    for wanted in (lambda _each: True, lambda each: each.name < "other2"):
        draws = Counter(each.name for _ in range(6000) for each in believes.sample(rng, 2, wanted))
        expected = sum(draws.values()) / len(draws)
        assert all(abs(count - expected) < 6 * expected**0.5 for count in draws.values()), draws


def test_members_that_are_forgotten_are_not_drawn() -> None:
    believes = membership(others=3)
    believes.bury(member("other1", host="10.0.1.1").id, now=1.0)
    believes.forget(now=1e9)
    names = {each.name for seed in range(50) for each in believes.sample(random.Random(seed), 2, lambda _each: True)}
    assert names == {"other0", "other2"}


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(4, 7), st.sampled_from(Status), st.sampled_from(["a", "b", "me"])),
        max_size=80,
    )
)
def test_in_how_many_suspicions_somebody_is_alone_is_counted_right(heard: list[tuple[int, int, Status, str]]) -> None:
    believes = membership(others=8)
    for number, incarnation, status, accuser in heard:
        record = member(f"other{number}", status, incarnation, host=f"10.0.1.{number}")
        believes.apply(Rumour(member=record, accuser=accuser if status is Status.SUSPECT else ""), now=1.0)
        alone = Counter(next(iter(each.accusers)) for each in believes.suspicions if len(each.accusers) == 1)
        assert believes._alone == alone


def test_a_record_turned_twice_is_one_and_the_same() -> None:
    one, other = member("bob"), member("bob")
    assert one.turned(Status.DEAD) is other.turned(Status.DEAD)
    assert one.turned(Status.DEAD) == member("bob", Status.DEAD)
    assert hash(one) == hash(other)
