"""Which rumours to piggyback, in which order, how often.

At most one rumour per member is queued, the newest. Each packet takes what concerns its receiver first (so that an
accused member hears of it at once), then what has been sent least, of those the largest that still fits, then the
newest. A rumour is done when it has been sent as often as the limit says; counted per packet, that is per receiver.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .member import Status

if TYPE_CHECKING:
    from .member import Rumour

_Tier: TypeAlias = dict[int, list[int]]
"""By size: the numbers of the rumours that were sent as often, the oldest first."""
_Batch: TypeAlias = tuple[int, int, list[int]]
"""How often they were sent before, their size, their numbers."""


@dataclass(slots=True)
class _Queued:
    rumour: Rumour
    size: int
    number: int
    sent: int = 0


class Dissemination:
    """The rumours still to be spread; bounded by the number of members, as a newer rumour replaces an older one.

    Those sent as often and of one size are kept in order, so that a packet takes slices of a few lists and each rumour
    in it costs next to nothing: with a thousand members, choosing and putting back was a fifth of all work.
    """

    def __init__(self) -> None:
        """Start with nothing to spread."""
        self._queued: dict[str, _Queued] = {}
        self._numbered: dict[int, _Queued] = {}
        self._tiers: dict[int, _Tier] = {}
        self._sizes: dict[int, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._queued)

    def __contains__(self, name: object) -> bool:
        return name in self._queued

    def get(self, name: str) -> Rumour | None:
        """The queued rumour about the member ``name``."""
        queued = self._queued.get(name)
        return None if queued is None else queued.rumour

    def put(self, rumour: Rumour) -> None:
        """Queue ``rumour``, in place of any older one about the same member."""
        name = rumour.member.name
        self.discard(name)
        self._count += 1
        queued = _Queued(rumour, len(rumour.encoded), self._count)
        self._queued[name] = self._numbered[queued.number] = queued
        self._sizes[queued.size] = self._sizes.get(queued.size, 0) + 1
        self._bucket(0, queued.size).append(queued.number)

    def discard(self, name: str) -> None:
        """Forget the rumour about ``name``, if any."""
        queued = self._queued.pop(name, None)
        if queued is not None:
            del self._numbered[queued.number]
            self._step_out(queued)
            self._drop(queued.size, 1)

    def _drop(self, size: int, count: int) -> None:
        left = self._sizes.pop(size) - count
        if left:
            self._sizes[size] = left

    def _bucket(self, sent: int, size: int) -> list[int]:
        return self._tiers.setdefault(sent, {}).setdefault(size, [])

    def _step_out(self, queued: _Queued) -> None:
        tier = self._tiers[queued.sent]
        bucket = tier[queued.size]
        del bucket[bisect_left(bucket, queued.number)]
        if not bucket:
            del tier[queued.size]

    def take(self, *, budget: int, limit: int, receiver: str = "", besides: str = "") -> list[Rumour]:
        """The rumours for one packet of at most ``budget`` bytes, counted as sent.

        Args:
            budget: bytes left in the packet.
            limit: how often a rumour is sent before it is dropped.
            receiver: name of the member the packet goes to; it is not told that it is alive.
            besides: name of a member the packet already has a rumour about.
        """
        chosen, batches = self._concerning(receiver, besides, budget)
        budget -= sum(len(rumour.encoded) for rumour in chosen)
        smallest = min(self._sizes, default=0)
        for sent in sorted(self._tiers):
            if budget < smallest:
                break
            for size, numbers in _take_fitting(self._tiers[sent], budget):
                budget -= size * len(numbers)
                batches.append((sent, size, numbers))
                chosen += [self._numbered[number].rumour for number in reversed(numbers)]
        for sent, size, numbers in batches:
            self._put_back(numbers, size, sent=sent + 1, limit=limit)
        return chosen

    def _concerning(self, receiver: str, besides: str, budget: int) -> tuple[list[Rumour], list[_Batch]]:
        """What goes first, and what counts as sent in any case: else it would wait for ever in a cluster of two."""
        chosen: list[Rumour] = []
        batches: list[_Batch] = []
        for name in dict.fromkeys((receiver, besides)):
            queued = self._queued.get(name)
            if queued is None:
                continue
            told = name != besides and queued.rumour.member.status is not Status.ALIVE
            if told and queued.size > budget:
                continue
            if told:
                chosen.append(queued.rumour)
                budget -= queued.size
            self._step_out(queued)
            batches.append((queued.sent, queued.size, [queued.number]))
        return chosen, batches

    def _put_back(self, numbers: list[int], size: int, *, sent: int, limit: int) -> None:
        if sent >= limit:
            for number in numbers:
                del self._queued[self._numbered.pop(number).rumour.member.name]
            self._drop(size, len(numbers))
            return
        for number in numbers:
            self._numbered[number].sent = sent
        bucket = self._bucket(sent, size)
        bucket += numbers
        bucket.sort()  # two runs that are in order: they are merged


def _take_fitting(tier: _Tier, budget: int) -> list[tuple[int, list[int]]]:
    """Move what fits out of ``tier``: the largest first, of one size the newest; by size, each in order."""
    taken = []
    for size in sorted(tier, reverse=True):
        bucket = tier[size]
        count = min(len(bucket), budget // size)
        if count > 0:
            taken.append((size, bucket[-count:]))
            budget -= size * count
            if count == len(bucket):
                del tier[size]
            else:
                del bucket[-count:]
    return taken
