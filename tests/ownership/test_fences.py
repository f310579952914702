"""Fences only grow, and a process that stood still knows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.errors import LocalProtocolError
from swimring.identity import Fence
from swimring.ownership import Standing, next_fence


@given(seen=st.integers(0, 2**62), wall_ms=st.integers(0, 2**42))
def test_a_fence_is_greater_than_all_that_were_seen_and_follows_the_wall_clock(seen: int, wall_ms: int) -> None:
    fence = next_fence(seen, "n1", wall_ms=wall_ms)
    assert fence.number > seen
    assert fence.number == max(seen + 1, wall_ms << 20)
    assert fence.owner == "n1"


def test_fences_are_compared_number_first_and_then_by_the_name_of_the_owner() -> None:
    assert Fence(1, "b") < Fence(2, "a")
    assert Fence(2, "a") < Fence(2, "b")


def test_there_is_no_fence_of_64_bits() -> None:
    with pytest.raises(LocalProtocolError):
        next_fence(2**63 - 1, "n1", wall_ms=0)


def test_a_gap_that_is_too_long_begins_an_epoch_whoever_looks_first() -> None:
    standing = Standing(patience=2.0, now=100.0)
    assert standing.beat(101.5) == 0
    assert standing.epoch(103.5) == 0
    assert standing.epoch(103.6) == 1
    assert standing.beat(103.7) == 1


def test_looking_is_no_sign_of_life() -> None:
    standing = Standing(patience=2.0, now=100.0)
    assert standing.epoch(101.9) == 0
    assert standing.epoch(102.1) == 1
