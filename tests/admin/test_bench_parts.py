"""What a load asks, when, and how what became of it is counted."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from swimring.admin.bench import Load, Measured, Plan, Tally
from swimring.errors import ConfigError, HandlerFailed, Unreachable

from .command import Run, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio.testing import MockClock

__all__ = ["run"]


@given(st.lists(st.floats(1e-6, 100.0), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_percentile_is_off_by_one_in_a_hundred_at_most(seconds: list[float], share: float) -> None:
    tally = Tally()
    for one in seconds:
        tally.note(one)
    ordered = sorted(seconds)
    wanted = next(one for place, one in enumerate(ordered, start=1) if place >= share * len(ordered))
    found = tally.latency(share)
    assert found is not None
    assert found == pytest.approx(wanted, rel=0.01)
    assert tally.latencies()["max"] == ordered[-1]


def test_what_fails_is_counted_by_kind_and_has_no_latency() -> None:
    tally, other = Tally(), Tally()
    for error in ("ValueError", "no answer", "ValueError"):
        tally.note(1.0, error)
    assert (tally.calls, tally.good, tally.failed, tally.latency(0.5)) == (3, 0, 3, None)
    other.note(0.5)
    tally.add(other)
    assert tally.errors == {"ValueError": 2, "no answer": 1}
    assert tally.latencies()["p50"] == 0.5


def test_kinds_of_errors_beyond_a_hundred_count_as_one() -> None:
    tally = Tally()
    for number in range(150):
        tally.note(0.0, f"Error{number}")
    assert len(tally.errors) == 101
    assert tally.errors["other"] == 50


def test_the_nth_key_of_zipf_is_asked_for_a_nth_as_often_and_turns_are_fair() -> None:
    choose = Plan(service="s", cmd="c", keys=100, distribution="zipf").chooser(random.Random(1))
    counted = Counter(choose() for _ in range(50_000))
    assert len(counted) == 100
    assert counted["key-0"] / counted["key-1"] == pytest.approx(2, rel=0.1)
    assert counted["key-0"] / counted["key-9"] == pytest.approx(10, rel=0.2)
    choose = Plan(service="s", cmd="c", keys=3, distribution="turn").chooser(random.Random(1))
    assert [choose() for _ in range(4)] == ["key-0", "key-1", "key-2", "key-0"]
    assert Plan(service="s", cmd="c", keys=0).chooser(random.Random(1))() is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"concurrency": 0}, "from 1"),
        ({"keys": -1}, "from 0"),
        ({"calls": 0}, "at least 1"),
        ({"rate": 0.0}, "above 0"),
        ({"distribution": "normal"}, "uniform, zipf"),
    ],
)
def test_a_plan_that_cannot_be_is_a_config_error(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Plan(service="s", cmd="c", **wrong).check()


class Cluster:
    """Answers after a hundredth of a second; between the seconds 2 and 3 it stands still."""

    def __init__(self, *, fails: bool = False) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self._fails = fails

    def counters(self) -> dict[str, int]:
        return {"calls": len(self.asked), "retries": 0}

    async def request(self, message: Mapping[str, Any], *, idempotent: bool = False) -> None:
        self.asked.append(message)
        await trio.sleep(0.01)
        if 2 < trio.current_time() < 3:
            await trio.sleep_until(3)
        if self._fails:
            raise HandlerFailed(type_name="KeyError", message="no") if len(self.asked) % 2 else Unreachable("gone")


async def measure(cluster: Cluster, **told: Any) -> Measured:
    plan = Plan(service="s", cmd="c", seconds=5.0, warm_up=0.0, **told)
    return await Load(plan, cluster, rng=random.Random(1)).run()


async def test_at_a_rate_a_stall_is_late_for_all_calls_that_were_due_in_it(autojump_clock: MockClock) -> None:
    found = await measure(Cluster(), rate=100.0, concurrency=4)
    assert found.tally.calls == 500
    late = found.tally.latency(0.85)
    assert late is not None
    assert late > 0.25  # a fifth was due while it stood still, and what waited behind it
    closed = await measure(Cluster(), concurrency=1)
    seldom = closed.tally.latency(0.99)
    assert seldom is not None
    assert seldom < 0.02  # as many as one caller makes one after the other


async def test_it_ends_after_so_many_calls_and_the_warm_up_is_not_counted(autojump_clock: MockClock) -> None:
    cluster = Cluster()
    plan = Plan(service="s", cmd="c", seconds=5.0, warm_up=0.1, calls=7, concurrency=2, fields={"n": 1}, keys=0)
    found = await Load(plan, cluster, rng=random.Random(1)).run()
    assert found.tally.calls == 7
    assert len(cluster.asked) > 7 + 10
    assert cluster.asked[0] == {"ns": "s", "cmd": "c", "n": 1}


async def test_an_error_of_a_handler_counts_by_its_own_name(autojump_clock: MockClock) -> None:
    found = await measure(Cluster(fails=True), calls=10, concurrency=1)
    assert found.tally.errors == {"KeyError": 5, "Unreachable": 5}


async def test_a_call_that_is_not_answered_in_time_is_a_failure_of_its_own_kind(autojump_clock: MockClock) -> None:
    found = await measure(Cluster(), within=0.001, calls=3)
    assert found.tally.errors == {"no answer": 3}


async def test_a_handler_that_raises_what_looks_like_that_is_not_taken_for_it(autojump_clock: MockClock) -> None:
    class Impatient(Cluster):
        async def request(self, message: Mapping[str, Any], *, idempotent: bool = False) -> None:
            await super().request(message, idempotent=idempotent)
            raise TimeoutError("its database did not answer")

    found = await measure(Impatient(), calls=3, concurrency=1)
    assert found.tally.errors == {"TimeoutError": 3}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["hello"], "say which handler of hello"),
        (["--spawn", "21"], "from 0 to 20"),
        (["hello", "greet", "--app", "hello:app"], "goes with --spawn"),
        (["--observe", "all"], "goes with --spawn"),
        (["--spawn", "1", "--observe", "nobody,me"], "use some of: run, nobody"),
        (["--duration", "long"], "30s, 500ms or 2m"),
        (["--duration", "0s"], "above 0"),
        (["--size", "much"], "BYTES or NAME=BYTES"),
        (["--rate", "-1"], "above 0"),
        (["--distribution", "normal"], "uniform, zipf"),
    ],
)
def test_a_bench_that_cannot_be_is_wrong_usage(run: Run, arguments: list[str], says: str) -> None:
    status, out, err = run("bench", *arguments)
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
