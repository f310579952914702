"""Keys with state that are asked: a scope for each, opened by the first call and closed when nobody calls any more.

No task waits on behalf of a key. What is not open costs its copy and nothing else.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from swimring.errors import NotOwner, Overloaded, OwnershipLost

from .holdings import place_of
from .states import Cause, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from swimring.identity import Key
    from swimring.service import KeyState, OwnedKeys

    from .holdings import Place
    from .inheriting import Heirs
    from .scope import Scope
    from .scopes import Scopes
    from .spreading import Spreading

T = TypeVar("T")

MAX_CALLS: Final = 1_000
"""Calls of one key that wait or run; more are refused with `Overloaded`."""

WARM: Final = 30.0
"""Seconds after its last call for which the next owner of a key opens it without being called."""

_log = logging.getLogger("swimring.ownership")


class Room:
    """One open key: its state, and the calls that run in it."""

    def __init__(
        self, owned: OwnedKeys[Any], key: Key, place: Place, scopes: Scopes, *, forget: Callable[[Room], None]
    ) -> None:
        """Not open yet; ``forget`` is told when it is closed."""
        self.owned = owned
        self.key = key
        self.place = place
        self.ready = trio.Event()
        self.failure: Exception | None = None
        self.callers = 0
        self.turns = trio.Lock() if owned.one_at_a_time else None
        self.idle_since = 0.0
        self.state: KeyState[Any] | None = None
        self.scope: Scope | None = None
        self._scopes = scopes
        self._forget = forget
        self._running: dict[trio.CancelScope, bool] = {}
        self._kept: bytes | None = None

    def opened(self, scope: Scope) -> None:
        """The key is ours: read its state."""
        self.scope, scope.tenant = scope, self
        raw = None if scope.restored is None else scope.restored.state
        state = self.owned.load(raw)
        self._kept = self.owned.dump(state)
        self.state = self.owned.opened(state, key=self.key, fence=scope.fence, keep=self._keep)

    @property
    def is_open(self) -> bool:
        """Whether a call may begin."""
        return self.scope is not None and self.scope.state is State.OPEN and self._scopes.holds(self.scope)

    @property
    def was_handed_over(self) -> bool:
        """Whether it is closed because the ring names another node."""
        return self.scope is not None and self.scope.cause is Cause.THEIRS

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Wait until it is open, and for the turn of this call; whether it is open then.

        Raises:
            Exception: what was kept cannot be read.
        """
        await self.ready.wait()
        if self.failure is not None:
            raise self.failure
        if self.turns is None:
            yield self.is_open
        else:
            async with self.turns:
                yield self.is_open

    async def wait_closed(self) -> None:
        """Wait until the scope that it had, if any, is closed."""
        await trio.lowlevel.checkpoint()
        if self.scope is not None:
            await self.scope.closed.wait()

    async def run(self, handle: Callable[[KeyState[Any]], Awaitable[T]], *, brief: bool) -> T:
        """Run one call, which may end with the budget; one that is not ``brief`` ends as soon as the key moves.

        Raises:
            OwnershipLost: the key was not ours any more when it ended: nobody may be told what came out.
        """
        assert self.state is not None
        assert self.scope is not None
        with trio.CancelScope() as cancel:
            self._running[cancel] = brief
            try:
                value = await handle(self.state)
            finally:
                counted = self._scopes.holds(self.scope)
                del self._running[cancel]
                self._finish_if_empty()
            if counted:
                return value
        raise OwnershipLost("the key moved while the handler ran", owner=self._scopes.me)

    async def _keep(self) -> None:
        assert self.state is not None
        assert self.scope is not None
        raw = self.owned.dump(self.state.state)
        await self._scopes.keep(self.scope, raw)
        self._kept = raw

    # --------------------------------------------------------------------------------------------- as a `Tenant`

    def end_soon(self) -> None:
        """As `Tenant.end_soon`: what is brief may finish."""
        for cancel, brief in list(self._running.items()):
            if not brief:
                cancel.cancel()
        self._finish_if_empty()

    def ended(self) -> None:
        """As `Tenant.ended`."""
        for cancel in list(self._running):
            cancel.cancel()
        self._forget(self)

    def _finish_if_empty(self) -> None:
        """When the key is to end and nothing runs: hand off the state as it is."""
        scope = self.scope
        assert scope is not None
        if self._running or scope.state not in (State.MOVING, State.CLOSING):
            return
        try:
            self._hand_off(scope)
        except Exception as error:  # noqa: BLE001 - types that were registered are encoded by code of the application
            _log.warning(
                "the state of %s was not handed off after its last checkpoint: %s",
                scope,
                repr(error),
                extra={"event": "handoff.failed"},
            )
        self._scopes.finish(scope)

    def _hand_off(self, scope: Scope) -> None:
        assert self.state is not None
        raw = self.owned.dump(self.state.state)
        if raw != self._kept:
            self._scopes.keep_here(scope, raw)


class Rooms:
    """The open keys of one node, for calls."""

    def __init__(self, scopes: Scopes, *, heirs: Heirs, spreading: Spreading, nursery: trio.Nursery) -> None:
        """None is open."""
        self._scopes = scopes
        self._heirs = heirs
        self._owned: dict[str, OwnedKeys[Any]] = {}
        self._spreading = spreading
        self._nursery = nursery
        self._rooms: dict[Place, Room] = {}
        self._idle: dict[str, OrderedDict[Place, Room]] = {}
        self._stirred = trio.Event()

    def __len__(self) -> int:
        return len(self._rooms)

    def serve(self, owned: OwnedKeys[Any]) -> None:
        """Keys of this service may be opened before they are called."""
        self._owned[owned.service] = owned

    def inherit(self, service: str, key: Key, *, last_owner: str) -> None:
        """Open the key, if it is ours: it was called at ``last_owner`` until now, which has closed it.

        Raises:
            ConfigError: this cannot be a key.
        """
        owned, place = self._owned.get(service), place_of(service, key)
        if owned is not None and place not in self._rooms and self._scopes.may_open(place):
            self._room(owned, key, place, handed_over_by=last_owner)

    async def run(
        self,
        owned: OwnedKeys[Any],
        key: Key,
        place: Place,
        handle: Callable[[KeyState[Any]], Awaitable[T]],
        *,
        refuse: Callable[[], None],
        brief: bool = True,
    ) -> T:
        """Open the key if it is not, and run a call in it. The surrounding scope bounds how long it waits.

        ``refuse`` raises if the key is not ours by the ring.

        Raises:
            CallError: the key is not ours, or too many calls wait for it: the handler did not begin.
            OwnershipLost: it ran, and the key was not ours any more in the end.
        """
        while True:
            refuse()
            self._scopes.check_open(key)
            if not self._scopes.is_mine(place):
                raise NotOwner(f"{self._scopes.me} does not own this key", key=key, owner=self._scopes.me)
            room = self._room(owned, key, place)
            if room.callers >= MAX_CALLS:
                raise Overloaded(f"{MAX_CALLS} calls of this key wait already", key=key, owner=self._scopes.me)
            self._enter(room)
            try:
                async with room.turn() as may_begin:
                    if may_begin:
                        return await room.run(handle, brief=brief)
            finally:
                self._leave(room)
            await room.wait_closed()

    def _room(self, owned: OwnedKeys[Any], key: Key, place: Place, *, handed_over_by: str | None = None) -> Room:
        room = self._rooms.get(place)
        if room is None or (room.scope is not None and room.scope.closed.is_set()):
            room = self._rooms[place] = Room(owned, key, place, self._scopes, forget=self._forget)
            self._nursery.start_soon(self._open, room, handed_over_by)
        return room

    async def _open(self, room: Room, handed_over_by: str | None) -> None:
        scope = None
        try:
            scope = await self._scopes.wait_open_while_ours(room.place, room.owned.terms, handed_over_by=handed_over_by)
            if scope is not None:
                room.opened(scope)
                if not room.callers:
                    self._rest(room)  # all of them have given up
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the state is told to those who wait for it
            room.failure = error
        finally:
            room.ready.set()
        if scope is None or room.failure is not None:
            if scope is not None:
                self._scopes.finish(scope)
            self._forget(room)

    def _forget(self, room: Room) -> None:
        if room.was_handed_over and self._is_warm(room):
            self._heirs.tell(room.place, room.key)
        if self._rooms.get(room.place) is room:
            del self._rooms[room.place]
        self._resting(room).pop(room.place, None)
        self._spreading.forget_calls(room.place)

    # ----------------------------------------------------------------------------------------------------- idling

    def _is_warm(self, room: Room) -> bool:
        return room.callers > 0 or trio.current_time() < room.idle_since + WARM

    def _resting(self, room: Room) -> OrderedDict[Place, Room]:
        return self._idle.setdefault(room.owned.service, OrderedDict())

    def _enter(self, room: Room) -> None:
        room.callers += 1
        self._resting(room).pop(room.place, None)
        self._spreading.count_call(room.place)

    def _leave(self, room: Room) -> None:
        room.callers -= 1
        if not room.callers and room.scope is not None and self._rooms.get(room.place) is room:
            self._rest(room)

    def _rest(self, room: Room) -> None:
        room.idle_since = trio.current_time()
        resting = self._resting(room)
        if not resting:
            self._stirred.set()
        resting[room.place] = room

    async def close_idle(self) -> None:
        """Close what nobody has called for a while, until cancelled."""
        while True:
            self._stirred = trio.Event()
            with trio.CancelScope() as scope:
                scope.deadline = min((self._due(idle) for idle in self._idle.values() if idle), default=scope.deadline)
                await self._stirred.wait()
            for idle in self._idle.values():
                while idle and self._due(idle) <= trio.current_time():
                    _place, room = idle.popitem(last=False)
                    if room.scope is not None:
                        self._scopes.end(room.scope)

    def _due(self, idle: OrderedDict[Place, Room]) -> float:
        room = next(iter(idle.values()))
        return room.idle_since + room.owned.idle
