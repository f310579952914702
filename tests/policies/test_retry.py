from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring import errors
from swimring.errors import CallError
from swimring.identity import NodeId
from swimring.policies import MAX_HOPS, Ask, Attempts, GiveUp, RetryPolicy, Wait, safe_to_retry

A, B, C = NodeId("a", 1), NodeId("b", 1), NodeId("c", 1)


class Dice(random.Random):
    """Dice that always fall on the ceiling."""

    def uniform(self, a: float, b: float) -> float:
        return b


def attempts_until(deadline: float = math.inf, policy: RetryPolicy | None = None) -> Attempts:
    return (policy or RetryPolicy()).attempts(deadline=deadline, rng=Dice())


def failed() -> errors.HandlerFailed:
    return errors.HandlerFailed(type_name="ValueError", message="no")


@pytest.mark.parametrize(
    ("error", "once", "if_idempotent"),
    [
        (errors.Unreachable("x"), True, True),
        (errors.NotOwner("x"), True, True),
        (errors.Draining("x"), True, True),
        (errors.Overloaded("x"), True, True),
        (errors.CircuitOpen("x"), True, True),
        (errors.ConnectionLost("x"), False, True),
        (errors.ConnectionLost("x", maybe_executed=False), True, True),
        (errors.Overloaded("x", maybe_executed=True), False, False),
        (errors.StreamLost("x", offset=3), False, False),
        (errors.StreamReset("x", code=1), False, False),
        (errors.DeadlineExceeded("x"), False, False),
        (errors.NoSuchHandler("x"), False, False),
        (errors.InvalidRequest("x"), False, False),
        (failed(), False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, CallError) else None,
)
def test_only_what_cannot_run_twice_or_may_is_retried(error: CallError, once: bool, if_idempotent: bool) -> None:
    assert safe_to_retry(error, idempotent=False) is once
    assert safe_to_retry(error, idempotent=True) is if_idempotent


def test_a_redirection_is_followed_at_once() -> None:
    attempts = attempts_until()
    assert attempts.consider(A, "v1", now=0) == Ask(0)
    assert attempts.consider(B, "v2", now=0) == Ask(1)
    assert attempts.count == 2


def test_no_owner_is_asked_twice_at_one_version_of_the_ring_without_a_wait() -> None:
    attempts = attempts_until()
    assert attempts.consider(A, "v1", now=0) == Ask(0)
    assert isinstance(attempts.consider(A, "v1", now=0), Wait)
    assert attempts.count == 1


def test_the_same_owner_may_be_asked_at_another_version_and_so_may_its_next_life() -> None:
    attempts = attempts_until()
    assert attempts.consider(A, "v1", now=0) == Ask(0)
    assert attempts.consider(A, "v2", now=0) == Ask(1)
    assert attempts.consider(NodeId("a", 2), "v2", now=0) == Ask(2)


def test_two_nodes_that_name_each_other_get_four_hops_and_then_a_wait() -> None:
    attempts = attempts_until()
    for hop in range(MAX_HOPS):
        assert attempts.consider((A, B)[hop % 2], f"v{hop}", now=0) == Ask(hop)
    assert isinstance(attempts.consider(A, "v9", now=0), Wait)


def test_after_the_wait_an_owner_may_be_asked_again() -> None:
    attempts = attempts_until()
    assert attempts.consider(A, "v1", now=0) == Ask(0)
    assert isinstance(attempts.consider(A, "v1", now=0), Wait)
    attempts.waited(ring_changed=False)
    assert attempts.consider(A, "v1", now=1) == Ask(0)


def test_a_wait_cut_short_by_the_ring_does_not_allow_the_old_version_again() -> None:
    attempts = attempts_until()
    assert attempts.consider(A, "v1", now=0) == Ask(0)
    assert isinstance(attempts.consider(A, "v1", now=0), Wait)
    attempts.waited(ring_changed=True)
    assert isinstance(attempts.consider(A, "v1", now=0), Wait)
    assert attempts.consider(A, "v2", now=0) == Ask(0)


def test_the_ceiling_doubles_from_round_to_round_up_to_the_cap() -> None:
    attempts, waits = attempts_until(), []
    for _ in range(8):
        assert attempts.consider(A, "v1", now=0) == Ask(0)
        verdict = attempts.consider(A, "v1", now=0)
        assert isinstance(verdict, Wait)
        waits.append(verdict.until)
        attempts.waited(ring_changed=False)
    assert waits == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0])
    assert RetryPolicy().ceiling(10_000) == 1.0


@given(st.integers(0, 2**32), st.integers(0, 20))
def test_a_back_off_lies_anywhere_between_zero_and_its_ceiling(seed: int, rounds: int) -> None:
    policy = RetryPolicy()
    attempts = policy.attempts(deadline=math.inf, rng=random.Random(seed))
    for _ in range(rounds):
        attempts.waited(ring_changed=False)
    verdict = attempts.consider(None, "v1", now=100)
    assert isinstance(verdict, Wait)
    assert 100 <= verdict.until <= 100 + policy.ceiling(rounds)


def test_an_owner_that_says_when_to_come_back_is_left_alone_that_long() -> None:
    attempts = attempts_until()
    assert attempts.consider(A, "v1", now=0) == Ask(0)
    attempts.failed(errors.Overloaded("busy", retry_after=3))
    assert attempts.consider(A, "v1", now=0) == Wait(3.02)


def test_what_may_have_run_once_may_have_run_whatever_comes_after() -> None:
    attempts = attempts_until()
    attempts.failed(errors.ConnectionLost("gone"))
    attempts.failed(errors.Unreachable("not there"))
    assert attempts.maybe_executed
    assert isinstance(attempts.error, errors.Unreachable)


def test_a_ring_without_an_owner_is_waited_for() -> None:
    attempts = attempts_until()
    assert isinstance(attempts.consider(None, "v0", now=0), Wait)
    attempts.waited(ring_changed=True)
    assert attempts.consider(A, "v1", now=0) == Ask(0)


def test_no_attempt_begins_right_before_the_deadline() -> None:
    attempts = attempts_until(deadline=10)
    assert attempts.consider(A, "v1", now=9.97) == Ask(0)
    assert attempts.consider(A, "v1", now=9.99) == GiveUp()


def test_the_last_wait_ends_before_the_deadline_and_only_a_new_ring_saves_the_call() -> None:
    for ring_changed, version, expected in ((True, "v2", Ask(0)), (False, "v1", GiveUp())):
        attempts = attempts_until(deadline=10)
        assert attempts.consider(A, "v1", now=9.97) == Ask(0)
        assert attempts.consider(A, "v1", now=9.97) == Wait(9.98)
        attempts.waited(ring_changed=ring_changed)
        assert attempts.consider(A, version, now=9.98) == expected


def test_every_call_with_a_deadline_ends() -> None:
    attempts, now = RetryPolicy().attempts(deadline=30, rng=random.Random(1)), 0.0
    while not isinstance(verdict := attempts.consider(C, "v1", now=now), GiveUp):
        if isinstance(verdict, Wait):
            now = verdict.until
            attempts.waited(ring_changed=False)
    assert 29.9 < now <= 30
    assert 40 < attempts.count < 120
