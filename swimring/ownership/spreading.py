"""What this node holds, brought to those who should have it: after every change of a ring, and while it drains.

Versions are offered in batches, and bytes follow where they are missing. It can be interrupted at any point and begun
anew: what is there already costs a line of an offer.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.errors import CallError, Moved

from .dues import Dues
from .tally import BROUGHT, FAILED, KEPT, REFUSED, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from swimring.ring import HashRing

    from .asking import Asking
    from .holdings import Copy, Holdings, Place
    from .progress import Progress
    from .rebalancer import Rebalancer, RingSnapshot

BANDWIDTH: Final = 32 * 1024 * 1024
PEERS_AT_ONCE: Final = 4
MAX_OFFERED: Final = 1024
"""In one message that is taken."""
AT_ONCE: Final = 256
"""Keys that one node is offered together: whoever is asked about them does nothing else meanwhile."""
MOST_AT_ONCE: Final = 4096
"""Keys that are offered together to all: they are gone through without a rest, and what is called meanwhile waits."""
HEAD_START: Final = 0.2
"""Seconds after a change of the ring before anything is brought."""
BEHIND: Final = 20.0
"""Seconds after which a node tells everybody that its copies are not where they belong."""
MAX_BYTES: Final = 256 * 1024
"""In one message, unless one copy is larger."""
_PER_VERSION: Final = 192
_TURN: Final = 1024
"""Copies that are looked at without a rest: about a millisecond."""


class Told(enum.IntEnum):
    """What a node says of a version that it is offered; the values are those of the wire."""

    KEEPS = 0
    """It holds that one or a later one, and is the owner or a replica by its own ring."""
    WANTS = 1
    REFUSES = 2
    """It promised to take none so old, and holds none."""
    HOLDS = 3
    """It holds it, and will drop it when others keep it."""


class Spreading:
    """The keys whose copies may be missing somewhere, and one task that brings them there.

    There are at most as many as this node holds copies. Those with most calls go first.
    """

    def __init__(
        self,
        asking: Asking,
        *,
        holdings: Holdings,
        rings: Rebalancer,
        is_open: Callable[[Place], bool],
        refused: Callable[[Place, str], None],
        bandwidth: float = BANDWIDTH,
    ) -> None:
        """Send at most ``bandwidth`` bytes a second; ``is_open`` says which keys have a scope here.

        ``refused`` hears which copies of this node others do not take for the sake of a promise.
        """
        self._refused = refused
        self._asking = asking
        self._holdings = holdings
        self._rings = rings
        self._is_open = is_open
        self._bandwidth = bandwidth
        self._peers = trio.CapacityLimiter(PEERS_AT_ONCE)
        self._next_send = 0.0
        self._dues = Dues()
        self._not_before = -math.inf
        self._stirred = trio.Event()
        self._progress = trio.Event()
        self._is_put_off = False
        self.compared = rings.sequence
        """Number of the snapshot of the rings that copies were last compared with, or of which that was put off."""
        self._taken = 0  # places that batches were made of, since the start
        self._offered = 0  # and of batches that are over
        self.draining = False
        """Whether everybody who should have a copy is offered it by us, and not the owner alone."""
        self._hits: Counter[Place] = Counter()
        self.tally = Tally()
        """How hand-offs went, for people who watch."""
        self.bytes_sent = 0
        self.copies_sent = 0

    @property
    def keys_left(self) -> int:
        """How many keys may still be missing somewhere, those that are being brought included."""
        return len(self._dues) + self._taken - self._offered

    def touch(self, place: Place, *, later: bool = False) -> None:
        """The copy of that key is new; with ``later``, there is no hurry."""
        if later:
            self._dues.mark_later(place, now=trio.current_time())
        else:
            self._dues.mark(place)
        self._stirred.set()

    def count_call(self, place: Place) -> None:
        """The key was called."""
        self._hits[place] += 1

    def forget_calls(self, place: Place) -> None:
        """The key is closed: who keeps nothing for it need not know how often it was called."""
        if self._holdings.get(place) is None:
            self._hits.pop(place, None)

    def put_off(self, passed: Iterable[RingSnapshot], new: RingSnapshot) -> None:
        """What changed between ``passed`` and ``new`` is not followed yet: if somebody took keys, copies are late."""
        self.compared = new.sequence
        late = (_takes_more(new.rings[service], old) for service, olds in _changes(passed, new).items() for old in olds)
        if len(self._holdings) and not self._is_put_off and any(late):
            self._is_put_off = True
            self.tally.begin(now=trio.current_time())
        self._tell_progress()

    def follow(self, passed: Sequence[RingSnapshot], new: RingSnapshot) -> Iterator[None]:
        """Take note of every key that is others' business than in one of ``passed``; iterate to its end, with rests.

        Not only than in the first of them: what was checkpointed in between was brought to where it belonged then.
        """
        moved = _changes(passed, new)
        forgetful = {
            name
            for old in passed
            for name, one in new.members.items()
            if name in old.members and old.members[name].id != one.id
        }
        if moved or forgetful:
            self._begin()
            yield from self._mark_concerned(moved, forgetful, new)
            self._dues.retry()
            self._dues.put_first(self._hits)
            self._begin()
        self._is_put_off = False
        self.compared = new.sequence
        self._stirred.set()
        self._tell_progress()

    def _mark_concerned(
        self, moved: Mapping[str, Sequence[HashRing | None]], forgetful: set[str], new: RingSnapshot
    ) -> Iterator[None]:
        kept = len(self._holdings)
        changes = {service: _Change(ring, moved.get(service, ()), kept=kept) for service, ring in new.rings.items()}
        for count, copy in enumerate(self._holdings):
            change = changes.get(copy.place[0])
            if change is not None:
                position = self._holdings.position(copy.place, change.ring)
                now, has_moved = change.keepers_at(position, copy.replicas + 1)
                # Who was started again holds nothing any more.
                if has_moved or (self.draining and change.olds) or not forgetful.isdisjoint(now):
                    self._dues.mark(copy.place)
            if count % _TURN == _TURN - 1:
                yield

    def _begin(self) -> None:
        """Let those who claim what has moved go ahead: their callers wait."""
        self._not_before = trio.current_time() + HEAD_START
        self._stirred.set()

    def _keepers(self, ring: HashRing | None, copy: Copy) -> tuple[str, ...]:
        return () if ring is None else ring.owners_at(self._holdings.position(copy.place, ring), copy.replicas + 1)

    def begin_draining(self) -> None:
        """Everything here has to be elsewhere: offer it to all who should have it."""
        self.draining = True
        for copy in self._holdings:
            self._dues.mark(copy.place)
        self._dues.put_first(self._hits)
        self._begin()

    async def wait_done(self) -> None:
        """Wait until nothing is missing anywhere, as far as this node knows."""
        while self.keys_left:
            await self._progress.wait()

    async def wait_brought(self) -> None:
        """Wait until all that is due now was offered once to those who should have it.

        What the present rings have moved is due, also what was not compared with them yet.
        """
        present = self._rings.sequence
        while self.compared < present:
            await self._progress.wait()
        last = self._taken + self._dues.ready
        while self._offered < last and (self._dues.ready or self._taken > self._offered):
            await self._progress.wait()

    def is_behind(self, *, now: float) -> bool:
        """Whether copies have been due elsewhere for so long that others may have forgotten the rings before."""
        return self.tally.began is not None and now >= self.tally.began + BEHIND

    async def wait_behind(self, *, behind: bool) -> None:
        """Wait until `is_behind` says so."""
        await trio.lowlevel.checkpoint()
        while self.is_behind(now=trio.current_time()) is not behind:
            since = self.tally.began
            with trio.CancelScope(deadline=math.inf if since is None or not behind else since + BEHIND):
                await self._progress.wait()

    async def tell(self, progress: Progress, total: int) -> None:
        """Tell how many keys are left of ``total``, those that were here at first, until cancelled."""
        while True:
            progress.tell(total=total, left=min(self.keys_left, total))
            await self._progress.wait()

    async def run(self) -> None:
        """Bring copies to where they are missing, until cancelled."""
        while True:
            await self._wait_ready()
            await self._spread(self._dues.take(batch_for(self._rings.snapshot)))
            self._tell_progress()

    async def _wait_ready(self) -> None:
        await trio.lowlevel.checkpoint()
        while True:
            now = trio.current_time()
            self._dues.wake(now=now, hurry=self.draining)
            if self._dues.ready and self._not_before <= now:
                return
            if not self._dues.unfinished and not self._is_put_off:
                self.tally.end(now=now)
            if not self._dues.ready:
                self._tell_progress()
            with trio.CancelScope(deadline=self._not_before if self._dues.ready else self._dues.next_time):
                await self._stirred.wait()
            self._stirred = trio.Event()

    def _tell_progress(self) -> None:
        progress, self._progress = self._progress, trio.Event()
        progress.set()

    # ------------------------------------------------------------------------------------------------- one batch

    async def _spread(self, places: Sequence[Place]) -> None:
        """Bring these to where they belong."""
        self.tally.begin(now=trio.current_time())
        batch = {place: copy for place in places if (copy := self._holdings.get(place)) is not None}
        self._taken += len(places)
        rings = {service: self._rings.ring(service) for service, _ in batch}
        lacking: dict[Place, set[str]] = {place: set(self._targets(copy)) for place, copy in batch.items()}
        by_peer: dict[str, list[Copy]] = {}
        for place, names in lacking.items():
            for name in names:
                by_peer.setdefault(name, []).append(batch[place])
        try:
            async with trio.open_nursery() as nursery:
                for name, copies in by_peer.items():
                    nursery.start_soon(self._feed, name, copies, lacking)
        finally:
            self._offered += len(places)
            for place in batch:
                if lacking[place]:
                    self._dues.mark_again(place, now=trio.current_time())
        for place, copy in batch.items():
            if not lacking[place]:
                self._drop_if_foreign(copy, rings[place[0]])

    def _targets(self, copy: Copy) -> tuple[str, ...]:
        """Who has to keep it before this node is done: a replica asks the owner, everybody else all of them."""
        around = self._around(copy)
        if self._asking.me in around[1:] and not self.draining:
            return around[:1]
        return tuple(name for name in around if name != self._asking.me)

    def _around(self, copy: Copy) -> tuple[str, ...]:
        return self._keepers(self._rings.ring(copy.place[0]), copy)

    def _drop_if_foreign(self, copy: Copy, asked_by: HashRing) -> None:
        """Drop what all keepers by our ring have said to keep by theirs, if our ring is the one we asked by.

        While that ring lasts this node tells nobody that it keeps the copy. So of nodes whose rings disagree the last
        one to drop it was told by a node that keeps it still.
        """
        around = self._around(copy)
        if not around or self._asking.me in around or self._is_open(copy.place):
            return
        if self._holdings.get(copy.place) is copy and self._rings.ring(copy.place[0]) is asked_by:
            self._holdings.drop(copy.place)
            self._hits.pop(copy.place, None)
        else:
            self._dues.mark(copy.place)  # a newer one has come meanwhile, or a new ring

    async def _feed(self, name: str, copies: list[Copy], lacking: dict[Place, set[str]]) -> None:
        """Offer these to one node, and send what it wants; takes its name out of ``lacking`` for what it has then."""
        async with self._peers:
            try:
                for offered in _portions(copies, lambda copy: len(copy.place[1]) + _PER_VERSION):
                    wanted = await self._offer(name, offered, lacking)
                    for some in _portions(wanted, lambda copy: copy.cost):
                        await self._send(name, some, lacking)
            except Moved as refusal:
                self.tally.results[REFUSED] += 1
                self._asking.learn(refusal.records)
            except CallError:
                self.tally.results[FAILED] += 1  # it is offered again, to whoever it concerns then

    async def _offer(self, name: str, copies: list[Copy], lacking: dict[Place, set[str]]) -> list[Copy]:
        versions = [[*copy.place, copy.fence.number, copy.fence.owner, copy.sequence] for copy in copies]
        records = self._asking.records({self._asking.me})
        answer = await self._ask(
            name, "offer", {"versions": versions, "records": records}, size=_PER_VERSION * len(versions)
        )
        wanted = []
        for copy, verdict in zip(copies, answer, strict=False):
            if verdict == Told.WANTS and self._brings(copy, name):
                wanted.append(copy)
            elif verdict == Told.KEEPS:
                lacking[copy.place].discard(name)
                self.tally.results[KEPT] += 1
            elif verdict == Told.REFUSES:
                self.tally.results[REFUSED] += 1
                self._refused(copy.place, self._asking.me)
        return wanted

    def _brings(self, copy: Copy, name: str) -> bool:
        """Whether this node sends it: who is neither owner nor replica brings it to the owner alone."""
        around = self._around(copy)
        return self.draining or self._asking.me in around or around[:1] == (name,)

    async def _send(self, name: str, copies: list[Copy], lacking: dict[Place, set[str]]) -> None:
        fresh = [self._holdings.get(copy.place) or copy for copy in copies]
        size = sum(copy.cost for copy in fresh)
        answer = await self._ask(name, "replicate", {"copies": [copy.to_wire() for copy in fresh]}, size=size)
        for copy, told in zip(fresh, answer, strict=False):
            taken = isinstance(told, list) and told[2:3] == [1]
            self.tally.results[BROUGHT if taken else REFUSED] += 1
            if taken:
                lacking[copy.place].discard(name)
        self.bytes_sent += size
        self.copies_sent += len(fresh)
        self._tell_progress()

    async def _ask(self, name: str, cmd: str, fields: dict[str, Any], *, size: int) -> list[Any]:
        now = trio.current_time()
        self._next_send = max(now, self._next_send) + size / self._bandwidth
        await trio.sleep_until(self._next_send)
        answer = await self._asking.ask(name, cmd, fields)
        return answer if isinstance(answer, list) else []


def batch_for(snapshot: RingSnapshot) -> int:
    """How many keys are offered together by these rings.

    So many that each node is offered about `AT_ONCE`, since their copies go to one or two of all that take keys; but
    no more than `MOST_AT_ONCE`.
    """
    nodes = max((len(ring) for ring in snapshot.rings.values()), default=0)
    return min(AT_ONCE * max(1, nodes // 2), MOST_AT_ONCE)


class _Change:
    """Who should keep a key by a ring, and whether others should by one of the rings before.

    Both are the same for all keys between two neighbouring points of these rings: they are looked up once for those. Of
    a node with 170,000 copies that is the larger part of what a change of the ring costs it. Who keeps fewer copies
    than the ring has points looks each of them up: to sort the points of 1,000 nodes takes a tenth of a second.
    """

    def __init__(self, ring: HashRing, olds: Sequence[HashRing | None], *, kept: int) -> None:
        self.ring = ring
        self.olds = olds
        self._bounds: list[int] = []
        if kept > ring.points:
            self._bounds = sorted({point for one in (ring, *olds) if one is not None for point in one.bounds})
        self._found: dict[tuple[int, int], tuple[tuple[str, ...], bool]] = {}

    def keepers_at(self, position: int, count: int) -> tuple[tuple[str, ...], bool]:
        """The ``count`` keepers of a key at ``position``, and whether they have changed."""
        if not self._bounds:
            return self._look_up(position, count)
        asked = bisect_right(self._bounds, position), count
        found = self._found.get(asked)
        if found is None:
            found = self._found[asked] = self._look_up(position, count)
        return found

    def _look_up(self, position: int, count: int) -> tuple[tuple[str, ...], bool]:
        now = self.ring.owners_at(position, count)
        before = (() if old is None else old.owners_at(position, count) for old in self.olds)
        return now, any(keepers != now for keepers in before)


def _changes(passed: Iterable[RingSnapshot], new: RingSnapshot) -> dict[str, list[HashRing | None]]:
    """The rings of ``passed`` that are others than those of ``new``, by service, each once; None if there was none."""
    changes: dict[str, list[HashRing | None]] = {}
    for service, ring in new.rings.items():
        for snapshot in passed:
            old = snapshot.rings.get(service)
            if old != ring and old not in changes.get(service, ()):
                changes.setdefault(service, []).append(old)
    return changes


def _takes_more(new: HashRing, old: HashRing | None) -> bool:
    """Whether a node takes more keys than it did, so that what others hold is in the wrong place."""
    before = {} if old is None else old.nodes
    return any(weight > before.get(name, 0) for name, weight in new.nodes.items())


def _portions(copies: Iterable[Copy], cost: Callable[[Copy], int]) -> Iterator[list[Copy]]:
    """Parts of at most `AT_ONCE` copies, and `MAX_BYTES` by that measure or one copy."""
    portion: list[Copy] = []
    size = 0
    for copy in copies:
        if len(portion) == AT_ONCE or (portion and size + cost(copy) > MAX_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(copy)
        size += cost(copy)
    if portion:
        yield portion
