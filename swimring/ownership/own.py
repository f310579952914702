"""The scope of one key as a user's block: ``async with node.own(key, State) as own``."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

from swimring.errors import OwnershipLost

from .holdings import place_of
from .states import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.identity import Fence, Key
    from swimring.service import StateForm, Terms

    from .scope import Scope
    from .scopes import Scopes

S = TypeVar("S")


class Own(Generic[S]):
    """One key while this node owns it.

    Attributes:
        key: the key.
        fence: greater than that of every owner before: give its number to what you write to.
    """

    def __init__(self, key: Key, *, scope: Scope, scopes: Scopes, form: StateForm[S]) -> None:
        """Made by `Node.own`."""
        self.key: Final = key
        self.fence: Final[Fence] = scope.fence
        self._scope = scope
        self._scopes = scopes
        self._form = form
        self._body = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Own {self.key!r}, {self._scope.state.name.lower()}, fence {self.fence}>"

    @property
    def moved(self) -> str | None:
        """Why it ended: ``"moved"``, ``"superseded"`` by a later fence, ``"frozen"``; None while or if it did not."""
        return self._scope.moved

    @property
    def left(self) -> float:
        """Seconds that the body has to end; infinite as long as nobody asks it to."""
        return max(0.0, self._scope.deadline - trio.current_time())

    async def restore(self) -> S | None:
        """What the last owner kept; None if there is nothing.

        Raises:
            LocalProtocolError: what was kept is not of this type.
        """
        await trio.lowlevel.checkpoint()
        copy = self._scope.restored
        return None if copy is None else self._form.load(copy.state)

    async def checkpoint(self, state: S) -> None:
        """Keep ``state`` for the next owner; with synchronous replicas, return when they have it.

        While the body is being ended, in a ``finally`` for instance, it works until the budget is over: what ended the
        body does not cancel it.

        Raises:
            OwnershipLost: this node may keep nothing for the key any more, and the body was not cancelled.
            Overloaded: there is no room for it here.
            LocalProtocolError: the state does not fit its type, or is larger than 512 KiB.
        """
        raw = self._form.dump(state)
        if trio.current_effective_deadline() == -math.inf:
            self._scopes.end(self._scope)  # somebody cancelled the task: its time to end begins now
        try:
            if self._scope.state is State.OPEN:
                await self._scopes.keep(self._scope, raw)
                return
            with trio.CancelScope(shield=True, deadline=self._scope.deadline) as patience:
                await self._scopes.keep(self._scope, raw)
            if patience.cancelled_caught:
                raise OwnershipLost("the budget of the hand-off was over before the checkpoint was kept")
        except OwnershipLost:
            await trio.lowlevel.checkpoint()  # the body was cancelled: that is the news, as anywhere else in it
            raise

    def end_soon(self) -> None:
        """As `Tenant.end_soon`."""
        self._body.cancel()

    def ended(self) -> None:
        """As `Tenant.ended`."""
        self._body.cancel()


@asynccontextmanager
async def owning(scopes: Scopes, service: str, key: Key, form: StateForm[S], terms: Terms) -> AsyncIterator[Own[S]]:
    """Wait until this node owns ``key``, run the block while it does.

    Raises:
        NodeClosed: this node leaves.
    """
    scope = await scopes.wait_open(place_of(service, key), terms)
    own = Own(key, scope=scope, scopes=scopes, form=form)
    scope.tenant = own
    try:
        with own._body:  # noqa: SLF001 - the block is its body
            if not scopes.holds(scope):
                own.ended()
            yield own
    finally:
        scopes.finish(scope)
