"""How a node that owns a key by the ring becomes its owner: nobody else may have it open, and none keep what is older.

While rings have changed not long ago it asks in two steps. First everybody who owned the key before closes it, with
what still runs there allowed to checkpoint; then everybody who may hold a copy promises to take no older one, and shows
what it has. In one step the promises of replicas could refuse the last checkpoint of an owner that is just closing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.errors import RemoteProtocolError

from .fences import MAX_FENCE, next_fence
from .holdings import read_copy

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.identity import Fence

    from .asking import Asking
    from .holdings import Copy, Holdings, Place
    from .past import PastRings

MAX_OTHERS: Final = 16
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
    """Asks for keys on behalf of one node."""

    def __init__(self, asking: Asking, *, holdings: Holdings, past: PastRings, wall_ms: Callable[[], int]) -> None:
        """Ask through ``asking``; copies held here take part."""
        self._asking = asking
        self._holdings = holdings
        self._past = past
        self._wall_ms = wall_ms

    async def claim(self, place: Place, replicas: int, *, also: tuple[str, ...] = ()) -> Claimed:
        """Ask until all who may hold the key have answered, or are gone. The caller cancels it when the ring changes.

        ``also`` are others who hold it, whatever the rings say.
        The fence is promised here as well when this returns.
        """
        round_ = _Round(self._asking, place, self._holdings.get(place))
        holders = self._past.holders(*place, replicas)
        if self._past.is_unsettled(place[0], now=trio.current_time()):
            await round_.ask(self._past.owners(*place), CLOSE)
        while True:
            seen = max(round_.seen, self._holdings.promised(place).number)
            fence = next_fence(seen, self._asking.me, wall_ms=self._wall_ms())
            await round_.ask((*holders, *also, *round_.others), fence.number)
            # Somebody who closed, or who asked us, may have shown a later one meanwhile.
            if round_.seen < fence.number and self._holdings.promise(place, fence):
                return Claimed(fence=fence, copy=_newest(round_.copy, self._holdings.get(place)))


class _Round:
    """What was heard about one key."""

    def __init__(self, asking: Asking, place: Place, copy: Copy | None) -> None:
        self._asking = asking
        self._place = place
        self.copy = copy
        self.seen = 0
        self.others: dict[str, None] = {}

    async def ask(self, names: tuple[str, ...], number: int) -> None:
        """Ask all of ``names``, and whoever they name, at once."""
        asked: set[str] = {self._asking.me}
        due = dict.fromkeys(names)
        while due := {name: None for name in (*due, *self.others) if name not in asked}:
            asked |= due.keys()
            async with trio.open_nursery() as nursery:
                for name in due:
                    nursery.start_soon(self._ask_one, name, number)

    async def _ask_one(self, name: str, number: int) -> None:
        service, key = self._place
        have = None if self.copy is None else [self.copy.fence.number, self.copy.fence.owner, self.copy.sequence]
        fields = {"service": service, "subject": key, "number": number, "have": have}
        answer = await self._asking.ask_until_gone(name, "claim", fields)
        if answer is not None:
            self._hear(answer)

    def _hear(self, answer: Any) -> None:
        try:
            seen, copy, others = _read(answer)
        except RemoteProtocolError:
            return  # whoever answers nonsense holds nothing that could be used
        if copy is not None and copy.place == self._place:
            self.copy = _newest(self.copy, copy)
        self.seen = max(self.seen, seen)
        self.others.update(dict.fromkeys(others))


def _read(answer: Any) -> tuple[int, Copy | None, list[str]]:
    match answer:
        case [int(seen), copy, list(others), *_] if 0 <= seen <= MAX_FENCE:
            names = [name for name in others if isinstance(name, str)][:MAX_OTHERS]
            return seen, None if copy is None else read_copy(copy), names
    raise RemoteProtocolError("malformed answer to a claim")


def _newest(one: Copy | None, other: Copy | None) -> Copy | None:
    if one is None or other is None:
        return one or other
    return one if one.version >= other.version else other
