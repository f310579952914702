"""The life of a scope: what is not in the table cannot happen."""

from __future__ import annotations

import itertools

import pytest

from swimring.errors import LocalProtocolError
from swimring.ownership.states import KEEPING, NEXT, Cause, State, after


@pytest.mark.parametrize(("state", "cause"), list(itertools.product(State, Cause)))
def test_a_scope_goes_where_the_table_says_or_nowhere(state: State, cause: Cause) -> None:
    if (state, cause) in NEXT:
        assert after(state, cause) is NEXT[state, cause]
    else:
        with pytest.raises(LocalProtocolError, match=state.name.lower()):
            after(state, cause)


def test_a_scope_is_opened_by_nothing_but_a_claim() -> None:
    assert [before for before, following in NEXT.items() if following is State.OPEN] == [(State.CLAIMING, Cause.WON)]


def test_a_closed_scope_stays_closed() -> None:
    assert not [before for before, _ in NEXT if before is State.CLOSED]


def test_a_fence_that_was_superseded_or_slept_through_is_dead_at_once() -> None:
    for state in KEEPING:
        assert after(state, Cause.SUPERSEDED) is State.CLOSED
        assert after(state, Cause.FROZEN) is State.CLOSED
