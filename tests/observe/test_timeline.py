from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from swimring.observe import Timeline, Trips
from swimring.observe.timeline import KEPT
from swimring.observe.trips import MAX_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("statuses", "kinds"),
    [
        (["alive"], ["join"]),
        (["alive", "suspect", "alive"], ["join", "suspect", "refute"]),
        (["alive", "suspect", "dead", "alive"], ["join", "suspect", "dead", "join"]),
        (["alive", "left", "forgotten", "alive"], ["join", "left", "forgotten", "join"]),
    ],
)
async def test_the_life_of_a_member_is_told_in_order(statuses: Sequence[str], kinds: Sequence[str]) -> None:
    timeline = Timeline()
    for status in statuses:
        timeline.member_changed("n1", status)
    assert [entry.kind for entry in timeline.since(0)] == kinds
    assert {entry.subject for entry in timeline.since(0)} == {"n1"}


async def test_a_reader_gets_what_it_has_not_seen() -> None:
    timeline = Timeline()
    for number in range(5):
        timeline.put("ring", "shop", str(number))
    assert [entry.number for entry in timeline.since(3)] == [4, 5]
    assert timeline.since(5) == timeline.since(99) == []


async def test_only_the_newest_entries_are_kept_and_a_late_reader_sees_by_the_numbers_what_it_missed() -> None:
    timeline = Timeline()
    for number in range(KEPT + 100):
        timeline.put("ring", "shop", str(number))
    assert [entry.number for entry in timeline.since(0)] == list(range(101, KEPT + 101))


async def test_waiting_ends_with_the_next_entry(autojump_clock: trio.testing.MockClock) -> None:
    timeline = Timeline()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timeline.wait_news, 0)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        timeline.ring_changed("shop", "abc", 3)
    await timeline.wait_news(0)


async def test_what_an_error_of_a_duty_says_is_not_told() -> None:
    timeline = Timeline()
    timeline.duty_failed("prober", ValueError("a secret"))
    assert "secret" not in timeline.since(0)[0].text


async def test_round_trips_are_smoothed_and_forgotten_with_the_member() -> None:
    trips = Trips()
    trips.probe_finished("b", 0.010)
    trips.probe_finished("b", 0.020)
    trips.probe_finished("c", None)
    assert trips.seconds() == {"b": pytest.approx(0.013), "c": None}
    trips.member_changed("b", "dead")
    assert trips.seconds() == {"c": None}


async def test_no_more_members_are_timed_than_the_bound() -> None:
    trips = Trips()
    for number in range(MAX_MEMBERS + 5):
        trips.probe_finished(f"n{number}", 0.01)
    assert len(trips.seconds()) == MAX_MEMBERS
