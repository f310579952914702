from __future__ import annotations

import math
import random

import pytest

from swimring.observe import Traffic, percentile
from swimring.observe.traffic import LONGEST_KEY, MAX_HANDLERS, MAX_KEYS, OTHER, SLOT, SLOTS, bucket_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def traffic(clock: Clock) -> Traffic:
    return Traffic(clock)


def test_percentiles_are_right_within_a_tenth() -> None:
    dice, buckets = random.Random(1), dict[int, int]()
    seconds = sorted(dice.lognormvariate(-5, 2) for _ in range(10_000))
    for each in seconds:
        buckets[bucket_of(each)] = buckets.get(bucket_of(each), 0) + 1
    for share in (0.01, 0.5, 0.9, 0.99):
        exact = seconds[math.ceil(share * len(seconds)) - 1]
        assert percentile(buckets, share) == pytest.approx(exact, rel=0.1)


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-30, 1e30])
def test_durations_that_make_no_sense_have_a_bucket_of_their_own_end(seconds: float) -> None:
    assert -80 <= bucket_of(seconds) <= 48


def test_outcomes_are_told_apart(traffic: Traffic) -> None:
    for outcome in ("ok", "ok", "HandlerFailed", "cancelled", "DeadlineExceeded"):
        traffic.handler_finished("shop", "add", "k", outcome, 0.01)
    traffic.call_finished("shop", "add", "k", "ok", 0.01)
    traffic.call_finished("shop", "add", "k", "cancelled", 0.01)
    traffic.call_retried("shop", "add", "k", "Draining")
    (told,) = traffic.handlers()
    assert (told.ns, told.cmd, told.handled, told.failed, told.cancelled) == ("shop", "add", 5, 1, 2)
    assert (told.calls, told.given_up, told.retried) == (2, 1, 1)
    assert percentile(told.buckets, 0.5) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("outcome", ["relayed", "NotOwner", "Draining"])
def test_what_another_node_handles_is_not_counted_here(traffic: Traffic, outcome: str) -> None:
    traffic.handler_finished("shop", "add", "k", outcome, 0.01)
    assert traffic.handlers() == []


def test_what_the_nodes_ask_each_other_is_no_traffic(traffic: Traffic) -> None:
    traffic.handler_finished("swimring", "statistics", None, "ok", 0.01)
    traffic.call_finished("swimring", "statistics", None, "ok", 0.01)
    assert traffic.handlers() == []


def test_the_rate_follows_within_seconds_and_the_minute_ends(traffic: Traffic, clock: Clock) -> None:
    for _ in range(60):
        for _ in range(10):
            traffic.handler_finished("shop", "add", "k", "ok", 0.01)
        clock.now += 1.0
    (told,) = traffic.handlers()
    assert told.rate == pytest.approx(10, rel=0.1)
    assert told.handled == pytest.approx(600, abs=10 * SLOT)
    assert len(told.history) == SLOTS
    clock.now += 3 * SLOT
    assert traffic.handlers()[0].rate == 0
    clock.now += SLOT * SLOTS
    assert traffic.handlers() == []


def test_a_handler_that_was_called_once_just_now_has_no_huge_rate(traffic: Traffic) -> None:
    traffic.handler_finished("shop", "add", "k", "ok", 0.01)
    assert traffic.handlers()[0].rate <= 1


def test_names_that_a_caller_makes_up_do_not_fill_the_memory(traffic: Traffic) -> None:
    for number in range(3 * MAX_HANDLERS):
        traffic.handler_finished("shop", f"cmd{number}", "k", "ok", 0.01)
    told = traffic.handlers()
    assert len(told) == MAX_HANDLERS + 1
    assert (told[0].cmd, told[0].handled) == (OTHER, 2 * MAX_HANDLERS)


def test_handlers_that_are_quiet_for_a_minute_make_room(traffic: Traffic, clock: Clock) -> None:
    for number in range(MAX_HANDLERS):
        traffic.handler_finished("shop", f"old{number}", "k", "ok", 0.01)
    clock.now += SLOT * SLOTS
    traffic.handler_finished("shop", "new", "k", "ok", 0.01)
    assert [told.cmd for told in traffic.handlers()] == ["new"]


def test_keys_have_rates_and_are_bounded_in_number_and_length(traffic: Traffic, clock: Clock) -> None:
    for _ in range(100):
        traffic.handler_finished("shop", "add", "hot", "ok", 0.01)
    for number in range(2 * MAX_KEYS):
        traffic.handler_finished("shop", "add", f"k{number}", "ok", 0.01)
    traffic.handler_finished("shop", "add", "x" * (LONGEST_KEY + 1), "ok", 0.01)
    traffic.handler_finished("bank", "add", "other", "ok", 0.01)
    clock.now += 10.0
    keys = traffic.keys("shop")
    assert len(keys) == MAX_KEYS
    assert keys["hot"] == pytest.approx(10)
    clock.now += SLOT * (SLOTS + 1)
    assert traffic.keys("shop") == {}


def test_commands_that_nobody_answers_are_one_and_leave_the_room_to_others(traffic: Traffic) -> None:
    for number in range(2 * MAX_HANDLERS):
        traffic.handler_finished("shop", f"made-up-{number}", "k", "NoSuchHandler", 0.01)
    traffic.handler_finished("shop", "add", "k", "ok", 0.01)
    told = {(one.ns, one.cmd): one.handled for one in traffic.handlers()}
    assert told == {(OTHER, OTHER): 2 * MAX_HANDLERS, ("shop", "add"): 1}
