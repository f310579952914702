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
