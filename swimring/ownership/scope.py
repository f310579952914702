"""One key on this node, from claiming to closed: its state, its fence, and who is told when it has to end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from .fences import NO_FENCE
from .states import KEEPING, Cause, State, after

if TYPE_CHECKING:
    from swimring.identity import Fence
    from swimring.service import Terms

    from .holdings import Copy, Place


class Tenant(Protocol):
    """Whatever runs inside a scope. Both are called between two awaits, and must not wait."""

    def end_soon(self) -> None:
        """End what runs, until the scope's ``deadline``; then tell `Scopes.finish`."""

    def ended(self) -> None:
        """The fence is dead: cancel what still runs."""


class Scope:
    """One key on this node. Only `swimring.ownership.scopes` changes it."""

    def __init__(
        self,
        place: Place,
        terms: Terms,
        *,
        also: tuple[str, ...] = (),
        renewed: bool = False,
        handed_over: bool = False,
    ) -> None:
        """Nothing is asked yet; ``also`` are those who have a copy, whatever the rings say.

        It is ``renewed`` only to free that copy; ``handed_over`` if one of them has told that it has closed the key.
        """
        self.also = also
        self.renewed = renewed
        self.handed_over = handed_over
        self.place = place
        self.terms = terms
        self.state = State.WAITING
        self.fence: Fence = NO_FENCE
        self.epoch = 0
        """Of `Standing`, when it was claimed."""
        self.sequence = 0
        """Of the last checkpoint under this fence."""
        self.restored: Copy | None = None
        """What claiming found."""
        self.deadline = math.inf
        """When what runs has to have ended, once it was told to."""
        self.cause: Cause | None = None
        """The first reason for its end."""
        self.tenant: Tenant | None = None
        self.claiming = trio.CancelScope()
        self.closed = trio.Event()

    def __repr__(self) -> str:
        return f"<Scope {self.place[0]}:{self.place[1]!r}, {self.state.name.lower()}, fence {self.fence}>"

    def hear(self, cause: Cause) -> None:
        """Go on to the next state.

        Raises:
            LocalProtocolError: that cannot happen now.
        """
        self.state = after(self.state, cause)
        if self.cause is None and cause not in (Cause.OURS, Cause.WON):
            self.cause = cause
        if self.state is State.CLOSED:
            self.closed.set()

    @property
    def is_keeping(self) -> bool:
        """Whether its fence holds, as far as its state says."""
        return self.state in KEEPING

    @property
    def is_blank(self) -> bool:
        """Whether its claim found no copy, and nothing was kept since."""
        return self.is_keeping and self.restored is None and not self.sequence

    @property
    def moved(self) -> str | None:
        """Why it ended: ``"moved"``, ``"superseded"``, ``"frozen"``; None if it did not, or by itself."""
        return None if self.cause is None else _WORDS.get(self.cause)


_WORDS = {Cause.THEIRS: "moved", Cause.SUPERSEDED: "superseded", Cause.FROZEN: "frozen"}
