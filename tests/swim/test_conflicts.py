from __future__ import annotations

import dataclasses

from swimring.swim import NameConflicted
from swimring.swim.conflicts import Conflicts

from .records import member

KEPT = member(host="10.0.0.1")
RIVAL = member(host="10.0.0.2")


def test_a_claim_is_told_at_once_and_then_once_a_minute_with_the_number_of_those_kept_back() -> None:
    conflicts = Conflicts()
    told = [(now, conflicts.between(KEPT, RIVAL, now=float(now))) for now in range(130)]
    assert [(now, event.repeated) for now, events in told for event in events] == [(0, 0), (60, 59), (120, 59)]
    assert told[0][1] == (NameConflicted(member=KEPT, other=RIVAL.address),)


def test_the_same_address_is_no_conflict() -> None:
    assert Conflicts().between(KEPT, KEPT, now=0.0) == ()


def test_each_of_a_few_addresses_is_told_and_a_flood_of_them_is_not() -> None:
    conflicts = Conflicts()
    rivals = [member(host=f"10.1.{n // 250}.{n % 250 + 1}") for n in range(1000)]
    told = [event for rival in rivals for event in conflicts.between(KEPT, rival, now=0.0)]
    assert [event.other for event in told] == [rival.address for rival in rivals[:4]]
    (later,) = conflicts.between(KEPT, rivals[0], now=60.0)
    assert later.repeated == 996


def test_names_do_not_keep_each_other_back_and_so_many_are_remembered() -> None:
    conflicts = Conflicts()
    for number in range(257):
        name = f"n{number}"
        assert conflicts.between(dataclasses.replace(KEPT, name=name), dataclasses.replace(RIVAL, name=name), now=0.0)
    assert conflicts.between(dataclasses.replace(KEPT, name="n0"), dataclasses.replace(RIVAL, name="n0"), now=0.0)
    assert not conflicts.between(
        dataclasses.replace(KEPT, name="n256"), dataclasses.replace(RIVAL, name="n256"), now=0.0
    )
