"""In which order, and when, copies are brought: as a table of moments."""

from __future__ import annotations

from swimring.ownership.dues import FIRST_PAUSE, LATER, LONGEST_PAUSE, Dues

A, B, C, D = (("kv", name) for name in (b"a", b"b", b"c", b"d"))


def test_what_is_marked_is_due_in_that_order_and_once() -> None:
    dues = Dues()
    for place in (A, B, A, C):
        dues.mark(place)
    assert (len(dues), dues.ready) == (3, 3)
    assert dues.take(2) == [A, B]
    assert dues.take(2) == [C]
    assert dues.take(2) == []


def test_those_that_were_called_go_first_the_hottest_before_the_others() -> None:
    dues = Dues()
    for place in (A, B, C):
        dues.mark(place)
    dues.put_first({B: 1, C: 5, D: 9})
    dues.mark(C)
    assert len(dues) == 3
    assert dues.take(9) == [C, B, A]


def test_what_has_just_opened_is_due_a_second_after_the_last_time_it_was_said() -> None:
    dues = Dues()
    dues.mark_later(A, now=0.0)
    dues.mark_later(B, now=0.2)
    dues.mark_later(A, now=0.5)
    assert dues.next_time == 0.2 + LATER
    dues.wake(now=1.3)
    assert dues.take(9) == [B]
    dues.wake(now=1.5)
    assert dues.take(9) == [A]


def test_who_leaves_does_not_wait_for_what_has_just_opened() -> None:
    dues = Dues()
    dues.mark_later(A, now=0.0)
    dues.wake(now=0.0, hurry=True)
    assert dues.take(9) == [A]


def test_what_was_refused_is_due_again_all_at_once_after_pauses_that_double() -> None:
    dues, now, pauses = Dues(), 0.0, []
    for _ in range(8):
        dues.mark_again(A, now=now)
        dues.mark_again(B, now=now + 0.01)
        dues.wake(now=now, hurry=True)
        assert dues.ready == 0, "not even in a hurry"
        pauses.append(dues.next_time - now)
        now = dues.next_time
        dues.wake(now=now)
        assert dues.take(9) == [A, B]
    assert [round(pause / FIRST_PAUSE) for pause in pauses[:4]] == [1, 2, 4, 8]
    assert max(pauses) <= LONGEST_PAUSE + 1e-9


def test_when_all_were_taken_the_pauses_are_short_again() -> None:
    dues = Dues()
    for now in (0.0, 1.0, 2.0):
        dues.mark_again(A, now=now)
        dues.wake(now=now + 0.9)
        assert dues.take(9) == [A]
    dues.wake(now=3.0)
    dues.mark_again(A, now=4.0)
    assert dues.next_time == 4.0 + FIRST_PAUSE


def test_when_rings_change_what_was_refused_is_due_at_once() -> None:
    dues = Dues()
    dues.mark_again(A, now=0.0)
    dues.retry()
    assert dues.take(9) == [A]
    assert len(dues) == 0


def test_what_is_taken_for_another_reason_is_not_due_again_as_well() -> None:
    dues = Dues()
    dues.mark_again(A, now=0.0)
    dues.mark(A)
    assert dues.take(9) == [A]
    dues.wake(now=99.0)
    assert len(dues) == 0
