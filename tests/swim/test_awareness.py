"""Local health."""

from __future__ import annotations

from swimring.swim import Awareness


def test_the_score_stays_between_zero_and_the_limit() -> None:
    awareness = Awareness(8)
    scores = []
    for delta in (-1, 1, 1, -1, 10, 1, -1):
        awareness.adjust(delta)
        scores.append(awareness.score)
    assert scores == [0, 1, 2, 1, 8, 8, 7]


def test_intervals_are_multiplied_by_one_more_than_the_score() -> None:
    awareness = Awareness(8)
    assert awareness.factor == 1
    awareness.adjust(3)
    assert awareness.factor == 4
    assert repr(awareness) == "<Awareness 3/8>"


def test_the_lag_is_the_worst_of_the_last_ten_timers() -> None:
    health = Awareness(8)
    assert health.lag == 0
    for lag in (0.5, *[0.01] * 9):
        health.note_lag(lag)
    assert health.lag == 0.5
    health.note_lag(-1e-9)  # a clock's rounding is no lag
    assert health.lag == 0.01
