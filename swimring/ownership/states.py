"""The life of a scope as a table: which state follows which, and what may be done in it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from swimring.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(enum.Enum):
    """What a scope does."""

    WAITING = "another node owns the key, or nobody does"
    CLAIMING = "everybody who may hold the key is asked"
    OPEN = "the body runs, calls are answered"
    MOVING = "the key goes to another node; what runs may finish within the budget"
    CLOSING = "the same, because the body ended, the key was idle, or its task was cancelled"
    CLOSED = "the fence is dead"


class Cause(enum.Enum):
    """What happens to a scope."""

    OURS = "the ring names this node"
    THEIRS = "the ring names another node, or this one drains"
    WON = "all who may hold the key have answered, or are dead"
    ENDED = "the body ended, the key was idle, or its task was cancelled"
    SUPERSEDED = "another node has a later fence"
    FROZEN = "this process stood still"
    DONE = "what ran has ended, or the budget is over"


NEXT: Final[Mapping[tuple[State, Cause], State]] = {
    (State.WAITING, Cause.OURS): State.CLAIMING,
    (State.CLAIMING, Cause.THEIRS): State.WAITING,
    (State.CLAIMING, Cause.WON): State.OPEN,
    (State.CLAIMING, Cause.ENDED): State.CLOSED,
    (State.OPEN, Cause.THEIRS): State.MOVING,
    (State.OPEN, Cause.ENDED): State.CLOSING,
    (State.OPEN, Cause.SUPERSEDED): State.CLOSED,
    (State.OPEN, Cause.FROZEN): State.CLOSED,
    (State.MOVING, Cause.DONE): State.CLOSED,
    (State.MOVING, Cause.SUPERSEDED): State.CLOSED,
    (State.MOVING, Cause.FROZEN): State.CLOSED,
    (State.CLOSING, Cause.THEIRS): State.MOVING,
    (State.CLOSING, Cause.DONE): State.CLOSED,
    (State.CLOSING, Cause.SUPERSEDED): State.CLOSED,
    (State.CLOSING, Cause.FROZEN): State.CLOSED,
}
"""What is missing cannot happen."""

KEEPING: Final = frozenset({State.OPEN, State.MOVING, State.CLOSING})
"""The states in which the fence holds: checkpoints are kept, and answers leave."""


def after(state: State, cause: Cause) -> State:
    """The state that follows.

    Raises:
        LocalProtocolError: that cannot happen in ``state``.
    """
    try:
        return NEXT[state, cause]
    except KeyError:
        raise LocalProtocolError(f"a scope that is {state.name.lower()} cannot hear {cause.name.lower()}") from None
