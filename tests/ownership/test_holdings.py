"""Copies are replaced by newer ones only, and never by what is older than a promise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.errors import RemoteProtocolError
from swimring.identity import Fence
from swimring.ownership import Copy, Holdings, Verdict
from swimring.ownership import holdings as module
from swimring.ownership.holdings import read_copy

PLACE = ("counter", b"k")


def copy(number: int, sequence: int = 1, *, owner: str = "n1", state: bytes = b"s", key: bytes = b"k") -> Copy:
    return Copy(place=("counter", key), fence=Fence(number, owner), sequence=sequence, replicas=1, state=state)


@given(st.permutations([copy(number, sequence) for number in (3, 4) for sequence in (0, 1, 2)]))
def test_the_newest_copy_is_held_in_whatever_order_they_come(copies: list[Copy]) -> None:
    holdings = Holdings()
    for one in copies:
        holdings.put(one)
    assert holdings.get(PLACE) == copy(4, 2)


def test_nothing_older_than_a_promise_is_taken_and_what_is_held_stays() -> None:
    holdings = Holdings()
    holdings.put(copy(3))
    assert holdings.promise(PLACE, Fence(5, "n2"))
    assert holdings.put(copy(3, 2)) is Verdict.FENCED
    assert holdings.put(copy(5, owner="n1")) is Verdict.FENCED
    assert holdings.get(PLACE) == copy(3)
    assert holdings.put(copy(5, owner="n2")) is Verdict.HELD


def test_a_promise_is_not_given_twice_nor_below_a_greater_one() -> None:
    holdings = Holdings()
    assert holdings.promise(PLACE, Fence(5, "n2"))
    assert not holdings.promise(PLACE, Fence(5, "n2"))
    assert not holdings.promise(PLACE, Fence(5, "n1"))
    assert holdings.promised(PLACE) == Fence(5, "n2")


def test_a_copy_is_a_promise_also_after_it_was_dropped() -> None:
    holdings = Holdings()
    holdings.put(copy(5))
    holdings.drop(PLACE)
    assert holdings.put(copy(4)) is Verdict.FENCED
    assert (len(holdings), holdings.size) == (0, 0)


def test_at_the_bound_a_copy_is_refused_unless_it_takes_no_more_than_the_one_before() -> None:
    one = copy(1, state=bytes(1000))
    holdings = Holdings(capacity=one.cost + 100)
    assert holdings.put(one) is Verdict.HELD
    assert holdings.put(copy(1, key=b"other")) is Verdict.FULL
    assert holdings.put(copy(1, 2, state=bytes(1101))) is Verdict.FULL
    assert holdings.put(copy(1, 2, state=bytes(1000))) is Verdict.HELD
    assert holdings.size == one.cost


def test_promises_without_a_copy_are_bounded_and_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROMISES", 2)
    holdings = Holdings()
    for key in (b"a", b"b", b"c"):
        holdings.promise(("counter", key), Fence(7, "n1"))
    assert [holdings.promised(("counter", key)).number for key in (b"a", b"b", b"c")] == [0, 7, 7]


def test_a_copy_reads_as_it_was_written() -> None:
    assert read_copy(copy(3, 2).to_wire()) == copy(3, 2)
    assert read_copy([*copy(3, 2).to_wire(), "what a later version adds"]) == copy(3, 2)


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        ["counter", "text", 1, "n1", 1, 0, b""],
        ["counter", b"k", 0, "n1", 1, 0, b""],
        ["counter", b"k", 2**63, "n1", 1, 0, b""],
        ["counter", b"k", 1, "", 1, 0, b""],
        ["counter", b"k", 1, "n1", -1, 0, b""],
        ["counter", b"k", 1, "n1", 1, 17, b""],
        ["counter", b"k", True, "n1", 1, 0, b""],
        ["counter", b"k", 1, "n1", False, 0, b""],
        ["counter", b"k", 1, "n1", 1, True, b""],
        ["counter", bytes(1025), 1, "n1", 1, 0, b""],
        ["c" * 129, b"k", 1, "n1", 1, 0, b""],
        ["counter", b"k", 1, "n1", 1, 0, bytes(512 * 1024 + 1)],
    ],
)
def test_what_is_no_copy_is_refused(record: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        read_copy(record)
