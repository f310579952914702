from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swimring.security import Window, Windows


@given(st.lists(st.integers(0, 300), max_size=200))
def test_a_counter_is_taken_once_and_only_within_64_of_the_highest(counters: list[int]) -> None:
    window = Window()
    taken: set[int] = set()
    highest = -1
    for counter in counters:
        expected = counter not in taken and counter > highest - 64
        assert window.is_new(counter) == expected
        assert window.take(counter) == expected
        if expected:
            taken.add(counter)
            highest = max(highest, counter)


def test_the_edges_of_the_window() -> None:
    window = Window()
    assert window.take(100)
    assert window.take(37)  # 63 behind
    assert not window.is_new(36)
    assert window.take(2**64 - 1)
    assert not window.is_new(100)
    assert window.is_new(2**64 - 64)


def test_senders_are_apart_and_the_one_not_heard_for_longest_is_forgotten() -> None:
    windows: Windows[str] = Windows(2)
    assert windows.take("a", 1)
    assert windows.take("b", 1)
    assert not windows.take("a", 1)  # refused, yet heard
    assert windows.take("c", 1)
    assert len(windows) == 2
    assert not windows.is_new("a", 1)
    assert windows.is_new("b", 1)
