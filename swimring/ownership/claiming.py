"""How a node that owns a key by the ring becomes its owner: nobody else may have it open, and none keep what is older.

While rings have changed not long ago it asks in two steps. First everybody who owned the key before closes it, with
what still runs there allowed to checkpoint; then everybody who may hold a copy promises to take no older one, and shows
what it has. In one step the promises of replicas could refuse the last checkpoint of an owner that is just closing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from .fences import next_fence
from .questions import Questions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from swimring.identity import Fence

    from .asking import Asking
    from .holdings import Copy, Holdings, Place
    from .past import PastRings
    from .questions import Heard

CLOSE: Final = 0
"""The number of a claim that only asks for closing: it promises nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a claim came to."""

    fence: Fence
    """Greater than all that were seen; everybody who answered has promised it."""
    copy: Copy | None
    """The newest copy."""


class Claims:
    """Asks for keys on behalf of one node.

    Unless we remember all rings of the last while, a key of which nobody has shown a copy is taken for a new one only
    after everybody was asked: rings may change faster than copies are brought, and have changed before we came. So is a
    copy that is older than what somebody has promised taken for the newest; and any, soon after a partition.
    """

    def __init__(
        self,
        asking: Asking,
        *,
        holdings: Holdings,
        past: PastRings,
        wall_ms: Callable[[], int],
        nursery: trio.Nursery,
    ) -> None:
        """Ask through ``asking``, with tasks of ``nursery``; copies held here take part."""
        self._me = asking.me
        self._asking = asking
        self._questions = Questions(asking, nursery=nursery)
        self._holdings = holdings
        self._past = past
        self._wall_ms = wall_ms

    async def claim(
        self, place: Place, replicas: int, *, also: tuple[str, ...] = (), handed_over: bool = False
    ) -> Claimed:
        """Ask until all who may hold the key have answered, or are gone. The caller cancels it when the ring changes.

        The fence is promised here as well when this returns. ``also`` are others who hold it, whatever the rings say.
        With ``handed_over`` the last owner has told that it has closed it: no last checkpoint of it is on its way.
        """
        round_ = _Round(self._questions, self._me, place, self._holdings.get(place))
        if not handed_over and self._past.is_unsettled(place[0], now=trio.current_time()):
            await round_.ask(self._past.owners(*place), CLOSE)
        while True:
            # Of one moment: whoever has not brought a copy that is older than these rings says so now.
            now = trio.current_time()
            all_known, two_sides = self._past.reaches_back(place[0], now=now), self._past.has_two_sides(now=now)
            holders = (*self._past.holders(*place, replicas), *self._asking.bringing(place[0]))
            seen = max(round_.seen, self._holdings.promised(place).number)
            fence = next_fence(seen, self._me, wall_ms=self._wall_ms())
            asked = await round_.ask((*holders, *also, *round_.others), fence.number)
            if two_sides or (round_.is_doubtful and not all_known):
                rest = [name for name in self._asking.offering(place[0]) if name not in asked]
                await round_.ask(rest, fence.number)
            # Somebody who closed, or who asked us, may have shown a later one meanwhile.
            if round_.seen < fence.number and self._holdings.promise(place, fence):
                return Claimed(fence=fence, copy=_newest(round_.copy, self._holdings.get(place)))


class _Round:
    """What was heard about one key."""

    def __init__(self, questions: Questions, me: str, place: Place, copy: Copy | None) -> None:
        self._questions = questions
        self._me = me
        self._place = place
        self.copy = copy
        self.seen = 0
        self.others: dict[str, None] = {}

    @property
    def is_doubtful(self) -> bool:
        """Whether there may be something newer: nothing was shown, or a copy that is older than a fence of the key."""
        return self.copy is None or self.copy.fence.number < self.seen

    async def ask(self, names: Iterable[str], number: int) -> set[str]:
        """Ask all of ``names``, and whoever they name, at once; everybody who was asked, and ourselves."""
        asked: set[str] = {self._me}
        due = dict.fromkeys(names)
        while due := {name: None for name in (*due, *self.others) if name not in asked}:
            asked |= due.keys()
            for heard in await self._questions.ask(due, self._place, number, self.copy):
                self._hear(heard)
        return asked

    def _hear(self, heard: Heard) -> None:
        if heard.copy is not None and heard.copy.place == self._place:
            self.copy = _newest(self.copy, heard.copy)
        self.seen = max(self.seen, heard.seen)
        self.others.update(dict.fromkeys(heard.others))


def _newest(one: Copy | None, other: Copy | None) -> Copy | None:
    if one is None or other is None:
        return one or other
    return one if one.version >= other.version else other
