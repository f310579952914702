"""Whom to probe, how long to wait, what it means."""

from __future__ import annotations

import itertools
import random

import pytest

from swimring.swim import ProbeOrder, Profile, RoundTrips, judge

NAMES = [f"n{number}" for number in range(10)]


def order(seed: int = 1) -> ProbeOrder:
    probes = ProbeOrder(random.Random(seed))
    for name in NAMES:
        probes.add(name)
    return probes


def wanted(_name: str) -> bool:
    return True


def test_each_round_probes_everybody_once_in_another_order() -> None:
    probes = order()
    rounds = [[probes.take(wanted) for _ in NAMES] for _ in range(5)]
    assert all(sorted(map(str, each)) == NAMES for each in rounds)
    assert len({tuple(each) for each in rounds}) == 5


@pytest.mark.parametrize("dice", range(20))
def test_two_probes_of_a_member_are_less_than_two_rounds_apart(dice: int) -> None:
    probes = order(dice)
    taken = [probes.take(wanted) for _ in range(100)]
    for name in NAMES:
        places = [place for place, each in enumerate(taken) if each == name]
        assert max(after - before for before, after in itertools.pairwise(places)) <= 2 * len(NAMES) - 1


@pytest.mark.parametrize("dice", range(20))
def test_a_new_member_in_the_middle_of_a_round_lets_nobody_be_probed_twice(dice: int) -> None:
    probes = order(dice)
    taken = [probes.take(wanted) for _ in range(5)]
    probes.add("new")
    probes.add("new")
    while len(taken) < 10 or "new" not in taken:
        taken.append(probes.take(wanted))
        if len(taken) > 30:
            break
    assert len(set(taken[:10])) == len(taken[:10])
    assert "new" in taken


def test_who_is_not_wanted_is_skipped_and_who_is_unknown_taken_out() -> None:
    probes = order()
    assert {probes.take(lambda name: name in {"n3", "n7"}) for _ in range(10)} == {"n3", "n7"}
    probes.keep(lambda name: name == "n4")
    assert [probes.take(wanted) for _ in range(3)] == ["n4", "n4", "n4"]
    assert probes.take(lambda _name: False) is None
    assert ProbeOrder(random.Random(1)).take(wanted) is None


def test_the_ping_timeout_adapts_to_the_slowest_of_late_within_bounds() -> None:
    trips = RoundTrips(Profile.lan())
    assert trips.ping_timeout == 0.5
    for _ in range(9):
        trips.add(0.001)
    assert trips.ping_timeout == 0.5
    trips.add(0.001)
    assert trips.ping_timeout == 0.02
    trips.add(0.03)
    assert trips.ping_timeout == pytest.approx(0.09)
    trips.add(3.0)
    assert trips.ping_timeout == 0.5
    for _ in range(100):
        trips.add(0.01)
    assert trips.ping_timeout == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("answered", "asked", "nacked", "lag", "accuse", "health"),
    [
        (True, [], [], 0, False, -1),
        (True, ["a"], [], 9, False, -1),
        (False, [], [], 0, True, 1),
        (False, ["a", "b"], ["a", "b"], 0, True, 0),
        (False, ["a", "b"], ["a"], 0, True, 1),
        (False, ["a", "b"], [], 0, True, 1),
        (False, ["a"], ["a"], 0.26, False, 1),
        (False, ["a"], ["a"], 0.24, True, 0),
    ],
)
def test_the_verdict_of_a_round(
    answered: bool, asked: list[str], nacked: list[str], lag: float, accuse: bool, health: int
) -> None:
    verdict = judge(answered=answered, asked=asked, nacked=nacked, lag=lag, longest_lag=0.25)
    assert (verdict.accuse, verdict.health) == (accuse, health)
