"""Lamport's clock."""

from __future__ import annotations

from swimring.swim import LamportClock


def test_it_starts_at_0_and_counts_what_happens() -> None:
    clock = LamportClock()
    assert clock.time == 0
    assert [clock.tick(), clock.tick()] == [1, 2]


def test_what_was_witnessed_is_in_the_past() -> None:
    clock = LamportClock()
    clock.witness(41)
    assert clock.time == 42
    for old in (41, 30):
        clock.witness(old)
        assert clock.time == 42
    assert clock.tick() == 43
