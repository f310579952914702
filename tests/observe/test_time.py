from __future__ import annotations

from swimring import Instrument
from swimring.instrument import Instruments
from swimring.node.counting import Counters


def test_nobody_needs_the_clock_until_an_observer_wants_to_know_how_long_things_take() -> None:
    instruments = Instruments([Counters()])
    assert not instruments.timed
    instruments.add(Instrument())
    assert instruments.timed
    assert Instruments([Instrument(), Counters()]).timed
