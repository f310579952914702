"""The parts of ownership of one node put together, and the tasks that keep them going."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from .answering import Answering
from .asking import Asking
from .claiming import Claims
from .fences import Standing
from .holdings import Holdings, place_of
from .inheriting import Heirs
from .own import owning
from .past import PastRings
from .rebalancer import RingSnapshot
from .renewing import Renewing
from .replicating import Replication
from .rooms import Rooms
from .scopes import Scopes
from .spreading import Spreading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Fence, Key
    from swimring.net import Host
    from swimring.service import KeyState, OwnedKeys, Service, StateForm, Terms

    from .asking import DirectCalls
    from .own import Own
    from .progress import Progress
    from .rebalancer import MembershipView, Rebalancer

T = TypeVar("T")
S = TypeVar("S")

_BEATS: int = 4
_MOST_PASSED: int = 16
_NOTHING = RingSnapshot(sequence=-1, version="", members={}, offering={}, rings={})


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnershipStatistics:
    """What a node owns and holds, at one moment."""

    scopes: int
    """Keys that are open here, or about to be."""
    copies: int
    """Keys whose state is here, of owners and of replicas."""
    copy_bytes: int
    """What they take, in bytes."""
    keys_left: int
    """Keys whose copies may be missing on other nodes."""
    copies_sent: int
    """Copies brought to other nodes since the start, besides checkpoints."""
    bytes_sent: int
    """What they took."""
    handed_off: Mapping[str, int]
    """Copies that were due at another node since the start, by what came of it: brought, kept, refused or failed."""
    hand_offs: int
    """Hand-offs that are over, each from the first key that was due to when none was."""
    hand_off_seconds: float
    """What these took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenKey:
    """One key that is open on this node."""

    service: str
    """The service."""
    key: bytes
    """The key."""
    fence: Fence
    """Under which its checkpoints are kept."""


@asynccontextmanager
async def open_ownership(
    me: str,
    *,
    membership: MembershipView,
    rings: Rebalancer,
    host: Host,
    patience: float,
) -> AsyncIterator[Ownership]:
    """The ownership of a node, which can be asked once `Ownership.use` was told how; the block's end ends its tasks.

    ``patience`` is how many seconds this process may stand still before others may have replaced it.
    """
    async with trio.open_nursery() as nursery:
        ownership = Ownership(me, membership=membership, rings=rings, host=host, patience=patience, nursery=nursery)
        with rings.telling(ownership.note):
            yield ownership
        nursery.cancel_scope.cancel()


class Ownership:
    """What a node owns: scopes, copies, and what other nodes ask about them."""

    def __init__(
        self,
        me: str,
        *,
        membership: MembershipView,
        rings: Rebalancer,
        host: Host,
        patience: float,
        nursery: trio.Nursery,
    ) -> None:
        """Made by `open_ownership`."""
        self._rings = rings
        self._host = host
        self._patience = patience
        self._nursery = nursery
        self._calls = _LateCalls()
        self._past = PastRings(now=trio.current_time())
        self._past.note(rings.snapshot, now=trio.current_time())
        self._passed: list[RingSnapshot] = []  # those since copies were last compared with where they belong
        self.stateful = trio.Event()
        """Set when the first copy of a state is here."""
        self.holdings = Holdings(on_first=self.stateful.set)
        self._standing = Standing(patience=patience, now=host.boot_time())
        asking = Asking(me, membership=membership, rings=rings, calls=self._calls, rng=host.rng)
        self._spreading = Spreading(
            asking, holdings=self.holdings, rings=rings, is_open=self._is_open, refused=self._on_refused
        )
        self._scopes = Scopes(
            me,
            rings=rings,
            holdings=self.holdings,
            claims=Claims(asking, holdings=self.holdings, past=self._past, wall_ms=host.wall_ms, nursery=nursery),
            replication=Replication(asking, rings=rings, nursery=nursery),
            spreading=self._spreading,
            standing=self._standing,
            boot_time=host.boot_time,
            nursery=nursery,
        )
        self._renewing = Renewing(self._scopes)
        heirs = Heirs(asking, rings=rings, nursery=nursery)
        self._rooms = Rooms(self._scopes, heirs=heirs, spreading=self._spreading, nursery=nursery)
        self._answering = Answering(
            asking=asking,
            rings=rings,
            past=self._past,
            holdings=self.holdings,
            scopes=self._scopes,
            rooms=self._rooms,
            spreading=self._spreading,
            renewing=self._renewing,
        )

    def register(self, service: Service) -> None:
        """Add what other nodes ask to the built-in ``service``."""
        self._answering.register(service)

    def serve(self, owned: OwnedKeys[Any]) -> None:
        """Keys of this service may be opened here before they are called."""
        self._rooms.serve(owned)

    def note(self, old: RingSnapshot, new: RingSnapshot) -> None:
        """Remember the rings that are published, before anybody can claim a key by them."""
        self._past.note(new, now=trio.current_time())
        self._passed.append(old)
        if len(self._passed) > _MOST_PASSED:
            self._passed = [_NOTHING]  # since which everything has changed

    def use(self, calls: DirectCalls) -> None:
        """Other nodes can be asked from now on: begin."""
        self._calls.calls = calls
        self._nursery.start_soon(self._follow, self._rings.snapshot, name="swimring ownership")
        self._nursery.start_soon(self._spread, name="swimring moved copies")
        self._nursery.start_soon(self._beat, name="swimring sign of life")
        self._nursery.start_soon(self._spreading.run, name="swimring copies")
        self._nursery.start_soon(self._renewing.run, name="swimring renewal")
        self._nursery.start_soon(self._rooms.close_idle, name="swimring idle keys")

    # --------------------------------------------------------------------------------------------------- asking

    def own(self, service: str, key: Key, form: StateForm[S], terms: Terms) -> AbstractAsyncContextManager[Own[S]]:
        """See `Node.own`."""
        return owning(self._scopes, service, key, form, terms)

    async def run(
        self,
        owned: OwnedKeys[Any],
        key: Key,
        handle: Callable[[KeyState[Any]], Awaitable[T]],
        *,
        refuse: Callable[[], None],
        brief: bool,
    ) -> T:
        """Run a call in the scope of its key: see `Rooms.run`."""
        return await self._rooms.run(owned, key, place_of(owned.service, key), handle, refuse=refuse, brief=brief)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called: what is here still stays here."""
        return self._scopes.is_closed

    @property
    def has_state(self) -> bool:
        """Whether there is anything to hand over."""
        return len(self._scopes) > 0 or len(self.holdings) > 0

    def open_keys(self) -> Iterator[OpenKey]:
        """The keys whose fence this node believes to hold."""
        for scope in self._scopes:
            if scope.is_keeping:
                service, key = scope.place
                yield OpenKey(service=service, key=key, fence=scope.fence)

    async def wait_behind(self, *, behind: bool) -> None:
        """Wait until copies have been due elsewhere for long; or, if ``behind`` is false, until none has."""
        await self._spreading.wait_behind(behind=behind)

    def statistics(self) -> OwnershipStatistics:
        """How much there is, and how much is still to be brought elsewhere."""
        tally = self._spreading.tally
        return OwnershipStatistics(
            scopes=len(self._scopes),
            copies=len(self.holdings),
            copy_bytes=self.holdings.size,
            keys_left=self._spreading.keys_left,
            copies_sent=self._spreading.copies_sent,
            bytes_sent=self._spreading.bytes_sent,
            handed_off=dict(tally.results),
            hand_offs=tally.finished,
            hand_off_seconds=tally.seconds,
        )

    async def hand_over(self, progress: Progress) -> None:
        """Bring everything to whoever should have it, after the ring names this node no more; then open nothing more.

        The caller bounds it, and watches ``progress``. With nobody to hand over to, it returns at once.
        """
        self._spreading.begin_draining()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._spreading.tell, progress, len(self.holdings))
            await self._hand_over_all()
            nursery.cancel_scope.cancel()
        progress.tell(total=progress.now.total, left=0)

    async def _hand_over_all(self) -> None:
        for scope in self._scopes:
            if not self._scopes.is_mine(scope.place):
                self._scopes.lose(scope)
                if scope.is_keeping:
                    await scope.closed.wait()
        await self._spreading.wait_done()

    def close(self) -> None:
        """The farewell comes next: see `Scopes.close`."""
        self._scopes.close()

    # --------------------------------------------------------------------------------------------------- inside

    def _is_open(self, place: tuple[str, bytes]) -> bool:
        return self._scopes.get(place) is not None

    def _on_refused(self, place: tuple[str, bytes], holder: str) -> None:
        self._renewing.refused(place, holder)

    async def _follow(self, snapshot: RingSnapshot) -> None:
        """End scopes whose keys moved, at every change after ``snapshot``."""
        while True:
            snapshot = await self._rings.wait_changed(snapshot.sequence)
            await self._scopes.follow(snapshot)

    async def _spread(self) -> None:
        """Spread what others should have now, at every change since copies were last compared with where they belong.

        It takes long if there are many copies. Whoever waits for a key that has moved again meanwhile must not wait
        for that, so this is a task of its own.
        """
        while True:
            snapshot = await self._rings.wait_changed(self._spreading.compared)
            if snapshot.kept and not self._spreading.draining:
                # Who is away has its copies still to come back to, or to lose when its time is over.
                self._spreading.put_off(self._passed, snapshot)
                continue
            passed, self._passed = self._passed, []
            for _ in self._spreading.follow(passed, snapshot):
                await trio.lowlevel.checkpoint()

    async def _beat(self) -> None:
        while True:
            self._scopes.beat()
            await trio.sleep(self._patience / _BEATS)


class _LateCalls:
    """The calls of a node, once it can make any: nothing is asked before."""

    def __init__(self) -> None:
        self.calls: DirectCalls | None = None

    async def request_at(self, name: str, out: Any) -> Any:
        """As `Routing.request_at`."""
        assert self.calls is not None
        return await self.calls.request_at(name, out)
