"""All scopes of a node: opened by claims, ended when their keys move, and the only ones who may checkpoint.

Every rule about when a scope may be open is here; what runs inside one is the business of its tenant.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import Draining, LocalProtocolError, NodeClosed, Overloaded, OwnershipLost
from swimring.identity import Fence
from swimring.service import Terms

from .holdings import MAX_STATE_BYTES, Copy, Verdict
from .replicating import Fenced
from .scope import Scope
from .states import Cause, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swimring.identity import Key

    from .claiming import Claims
    from .fences import Standing
    from .holdings import Holdings, Place
    from .rebalancer import Rebalancer, RingSnapshot
    from .replicating import Replication
    from .spreading import Spreading

_log = logging.getLogger("swimring.ownership")
_TURN: Final = 256
_UNKNOWN: Final = 2  # replicas of a key of which nothing is here
_MOST_SHOWN: Final = 1_024


class Scopes:
    """The scopes of one node, at most one for each key."""

    def __init__(
        self,
        me: str,
        *,
        rings: Rebalancer,
        holdings: Holdings,
        claims: Claims,
        replication: Replication,
        spreading: Spreading,
        standing: Standing,
        boot_time: Callable[[], float],
        nursery: trio.Nursery,
    ) -> None:
        """Nothing is open."""
        self.me: Final = me
        self._rings = rings
        self._holdings = holdings
        self._claims = claims
        self._replication = replication
        self._spreading = spreading
        self._standing = standing
        self._boot_time = boot_time
        self._nursery = nursery
        self._scopes: dict[Place, Scope] = {}
        self._shown: dict[Place, str] = {}  # who has a copy that the last claim did not find, for the next one
        self._closed = False

    def __len__(self) -> int:
        return len(self._scopes)

    def __iter__(self) -> Iterator[Scope]:
        return iter(list(self._scopes.values()))

    def get(self, place: Place) -> Scope | None:
        """The scope of that key."""
        return self._scopes.get(place)

    def is_mine(self, place: Place) -> bool:
        """Whether the ring names this node."""
        owner = self._rings.owner(*place)
        return owner is not None and owner.name == self.me

    def may_open(self, place: Place) -> bool:
        """Whether this node could open that key now."""
        return not self._closed and self.is_mine(place) and place not in self._scopes

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Open nothing any more, and keep nothing for keys of others: who has said farewell is asked by no claim."""
        self._closed = True
        for scope in self:
            if not self.is_mine(scope.place):
                self.finish(scope)

    def check_open(self, key: Key) -> None:
        """See that calls are taken still.

        Raises:
            Draining: this node leaves.
        """
        if self._closed:
            raise Draining(f"{self.me} is leaving", key=key, owner=self.me)

    # -------------------------------------------------------------------------------------------------- opening

    async def wait_open(self, place: Place, terms: Terms) -> Scope:
        """Wait until this node owns the key, and nobody else here has it; return its scope, open.

        Raises:
            NodeClosed: this node leaves.
        """
        while True:
            if self._closed:
                raise NodeClosed(f"{self.me} is leaving its cluster")
            other = self._scopes.get(place)
            if other is not None:
                await other.closed.wait()
            elif not self.is_mine(place):
                await self._rings.wait_changed(self._rings.sequence)
            elif (scope := await self.open(place, terms)) is not None:
                return scope

    async def wait_open_while_ours(
        self, place: Place, terms: Terms, *, handed_over_by: str | None = None
    ) -> Scope | None:
        """As `wait_open`; None as soon as the ring names another node.

        ``handed_over_by`` is the last owner, if it has told that it has closed it.
        """
        while self.is_mine(place) and not self._closed:
            other = self._scopes.get(place)
            if other is not None:
                await other.closed.wait()
            elif (scope := await self.open(place, terms, handed_over_by=handed_over_by)) is not None:
                return scope
            handed_over_by = None  # by now it may have been opened elsewhere
        return None

    async def renew(self, place: Place, holder: str) -> None:
        """Claim the key and close it again: what is kept of it gets a fence above all that were promised.

        ``holder`` is asked for its copy as well, whoever it is. It must be ours, and not open here.
        """
        known = self._holdings.get(place)
        terms = Terms(replicas=_UNKNOWN if known is None else known.replicas)
        scope = await self._open(Scope(place, terms, also=(holder,), renewed=True))
        if scope is not None:
            self.finish(scope)

    async def open(self, place: Place, terms: Terms, *, handed_over_by: str | None = None) -> Scope | None:
        """Claim the key; None if it went to another node meanwhile. It must be ours, and not open here."""
        also = () if handed_over_by is None else (handed_over_by,)
        return await self._open(Scope(place, terms, also=also, handed_over=bool(also)))

    async def _open(self, scope: Scope) -> Scope | None:
        place = scope.place
        self._scopes[place] = scope
        if place in self._shown:
            scope.also += (self._shown.pop(place),)
        scope.hear(Cause.OURS)
        try:
            with scope.claiming:
                while scope.state is State.CLAIMING:
                    await self._claim(scope)
        finally:
            if scope.state is not State.OPEN:
                if scope.state is State.CLAIMING:
                    scope.hear(Cause.ENDED)
                self._forget(scope)
                self._spreading.touch(place)  # no copy was dropped while it was claimed
        return scope if scope.state is State.OPEN else None

    async def _claim(self, scope: Scope) -> None:
        epoch = self._epoch()
        claimed = await self._claims.claim(
            scope.place, scope.terms.replicas, also=scope.also, handed_over=scope.handed_over
        )
        if scope.state is not State.CLAIMING:
            return  # the key went away in the same moment as the last answer came
        if not self.is_mine(scope.place):
            scope.hear(Cause.THEIRS)
        elif self._epoch() == epoch and self._holdings.promised(scope.place) == claimed.fence:
            scope.epoch, scope.fence = epoch, claimed.fence
            scope.restored = copy = claimed.copy
            if copy is not None:
                if scope.renewed:
                    scope.terms = Terms(replicas=copy.replicas)
                # Under our fence it is newer than what was promised to nobody: replicas will take it from us.
                self._keep_here(scope, copy.state)
                # Whoever hands it over waits until the others have it.
                self._spreading.touch(scope.place, later=not scope.handed_over)
            scope.hear(Cause.WON)

    # --------------------------------------------------------------------------------------------------- ending

    async def follow(self, snapshot: RingSnapshot) -> None:
        """End what ``snapshot`` gives to others. Calls for these keys are refused already, so there is time."""
        for count, scope in enumerate(self):
            if not self.is_mine(scope.place):
                self.lose(scope)
            if count % _TURN == _TURN - 1:
                await trio.lowlevel.checkpoint()
                if self._rings.snapshot is not snapshot:
                    return

    def lose(self, scope: Scope) -> None:
        """The key belongs to another node."""
        if scope.state is State.CLAIMING:
            scope.hear(Cause.THEIRS)
            scope.claiming.cancel()
        elif scope.state in (State.OPEN, State.CLOSING):
            self._end(scope, Cause.THEIRS)

    def end(self, scope: Scope) -> None:
        """What runs in it wants to end, and may checkpoint until it has: within the budget."""
        if scope.state is State.OPEN:
            self._end(scope, Cause.ENDED)

    def _end(self, scope: Scope, cause: Cause) -> None:
        was_open = scope.state is State.OPEN
        scope.hear(cause)
        if not was_open:
            return  # its time runs already
        scope.deadline = trio.current_time() + scope.terms.budget
        assert scope.tenant is not None
        scope.tenant.end_soon()
        if scope.is_keeping:
            self._nursery.start_soon(self._enforce, scope)

    async def _enforce(self, scope: Scope) -> None:
        with trio.move_on_at(scope.deadline):
            await scope.closed.wait()
        if scope.is_keeping:
            _log.warning(
                "%s did not end within its %g s: its fence is dead now",
                scope,
                scope.terms.budget,
                extra={"event": "key.overdue"},
            )
            self.finish(scope)

    def finish(self, scope: Scope) -> None:
        """What ran in it has ended, or has to: the fence is dead from now on."""
        if scope.state is State.OPEN:
            scope.hear(Cause.ENDED)
        if scope.is_keeping:
            self._kill(scope, Cause.DONE)

    def supersede(self, place: Place, fence: Fence) -> None:
        """Another owner has ``fence``: a scope with a lesser one is dead."""
        scope = self._scopes.get(place)
        if scope is not None and scope.is_keeping and scope.fence < fence:
            _log.warning("%s was superseded by %s", scope, fence, extra={"event": "key.superseded"})
            self._kill(scope, Cause.SUPERSEDED)

    def void(self, place: Place, holder: str) -> None:
        """There is a copy at ``holder`` that the claim did not find: a scope that has kept nothing since is dead.

        With it the key would pass for a new one as long as it is only read, and no older copy could be brought here.
        """
        scope = self._scopes.get(place)
        if scope is not None and scope.is_blank and self.is_mine(place):
            told = "%s was opened as a new key, of which %s has a copy: it is claimed anew"
            _log.warning(told, scope, holder, extra={"event": "key.superseded", "peer": holder})
            if len(self._shown) >= _MOST_SHOWN:  # those who have been forgotten show it again
                self._shown.clear()
            self._shown[place] = holder
            self._kill(scope, Cause.SUPERSEDED)

    def _kill(self, scope: Scope, cause: Cause) -> None:
        scope.hear(cause)
        self._forget(scope)
        self._spreading.touch(scope.place)
        if scope.tenant is not None:
            scope.tenant.ended()

    def _forget(self, scope: Scope) -> None:
        if self._scopes.get(scope.place) is scope:
            del self._scopes[scope.place]
        scope.closed.set()

    # -------------------------------------------------------------------------------------------------- keeping

    def beat(self) -> None:
        """This process runs: what was open when it last stood still is dead."""
        epoch = self._standing.beat(self._boot_time())
        for scope in self:
            if scope.is_keeping and scope.epoch != epoch:
                self._freeze(scope)

    def _freeze(self, scope: Scope) -> None:
        _log.warning("%s is void: this process stood still", scope, extra={"event": "key.frozen"})
        self._kill(scope, Cause.FROZEN)

    def _epoch(self) -> int:
        return self._standing.epoch(self._boot_time())

    def holds(self, scope: Scope) -> bool:
        """Whether what happens under the fence of ``scope`` counts: to be asked before anything leaves the node."""
        if scope.is_keeping and scope.epoch != self._epoch():
            self._freeze(scope)
        return scope.is_keeping

    async def keep(self, scope: Scope, state: bytes) -> None:
        """A checkpoint, here and on the replicas that its terms ask for.

        Raises:
            OwnershipLost: the fence is dead, or died meanwhile.
            Overloaded: there is no room here, or on no replica.
            LocalProtocolError: it is too large.
        """
        copy = self.keep_here(scope, state)
        if not scope.terms.replicas:
            await trio.lowlevel.checkpoint()
            return
        if not scope.terms.sync:
            self._spreading.touch(scope.place)
            await trio.lowlevel.checkpoint()
            return
        try:
            if not await self._replication.replicate(copy):
                self._spreading.touch(scope.place, later=True)  # who was replaced has it still to come
        except Fenced as fenced:
            self.supersede(scope.place, Fence(fenced.number + 1, ""))
            raise self._lost(scope) from None
        if not self.holds(scope):
            raise self._lost(scope)

    def keep_here(self, scope: Scope, state: bytes) -> Copy:
        """The part of `keep` that waits for nobody."""
        if not self.holds(scope):
            raise self._lost(scope)
        if len(state) > MAX_STATE_BYTES:
            raise LocalProtocolError(f"a state of {len(state)} bytes; at most {MAX_STATE_BYTES} are kept")
        scope.sequence += 1
        copy, verdict = self._keep_here(scope, state)
        if verdict is Verdict.FULL:
            raise Overloaded(f"{self.me} has no room for this state", owner=self.me)
        if verdict is Verdict.FENCED:
            self.supersede(scope.place, self._holdings.promised(scope.place))
            raise self._lost(scope)
        return copy

    def _keep_here(self, scope: Scope, state: bytes) -> tuple[Copy, Verdict]:
        copy = Copy(
            place=scope.place,
            fence=scope.fence,
            sequence=scope.sequence,
            replicas=scope.terms.replicas,
            state=state,
        )
        return copy, self._holdings.put(copy)

    def _lost(self, scope: Scope) -> OwnershipLost:
        return OwnershipLost(f"{self.me} may keep nothing more for this key: {scope}", owner=self.me)
