"""How long a process that ended waits for its next start."""

from __future__ import annotations

from swimring.admin.fleet import Patience


def test_pauses_double_up_to_half_a_minute_and_are_short_again_after_a_healthy_run() -> None:
    patience, pauses = Patience(), []
    for start in range(0, 80, 10):
        patience.started(now=float(start))
        pauses.append(patience.ended(now=float(start + 1)))
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    patience.started(now=100.0)
    assert patience.ended(now=130.0) == 0.5
    patience.started(now=131.0)
    assert patience.ended(now=132.0) == 1.0
