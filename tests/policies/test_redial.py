"""Pauses after failed dials, as a table."""

from __future__ import annotations

import random

from swimring.identity import Address
from swimring.policies import Redial

HERE, THERE = Address("10.0.0.1", 7979), Address("10.0.0.2", 7979)


def redial(*, most: int = 8) -> Redial:
    return Redial(first=0.05, longest=1.0, most=most, rng=random.Random(1))


def test_the_pause_doubles_with_each_failure_up_to_the_longest() -> None:
    pauses = redial()
    for ceiling in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, *[1.0] * 2000):
        pauses.failed("a", HERE, "refused", now=100)
        left = pauses.seconds_left("a", now=100)
        assert left is not None
        assert ceiling / 2 <= left <= ceiling


def test_a_pause_is_for_one_address_and_ends() -> None:
    pauses = redial()
    pauses.failed("a", HERE, "refused", now=100)
    pause = pauses.pause("a", HERE, now=100)
    assert pause is not None
    assert (pause.error, pause.failures) == ("refused", 1)
    assert pauses.pause("a", THERE, now=100) is None
    assert pauses.pause("b", HERE, now=100) is None
    assert pauses.pause("a", HERE, now=101) is None
    assert pauses.seconds_left("a", now=101) is None


def test_another_address_or_a_success_begins_anew() -> None:
    pauses = redial()
    for address in (HERE, HERE, THERE):
        pauses.failed("a", address, "refused", now=100)
    moved = pauses.pause("a", THERE, now=100)
    assert moved is not None
    assert moved.failures == 1
    pauses.reached("a")
    assert len(pauses) == 0
    pauses.reached("a")


def test_the_oldest_pause_is_forgotten_beyond_the_bound() -> None:
    pauses = redial(most=2)
    for name in "abac":
        pauses.failed(name, HERE, "refused", now=100)
    assert len(pauses) == 2
    assert pauses.seconds_left("b", now=100) is None
    assert pauses.seconds_left("a", now=100) is not None
