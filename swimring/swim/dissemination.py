"""Which rumours to piggyback, in which order, how often.

At most one rumour per member is queued, the newest. Each packet takes what concerns its receiver first (so that an
accused member hears of it at once), then what has been sent least, of those the largest that still fits, then the
newest. A rumour is done when it has been sent as often as the limit says; counted per packet, that is per receiver.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .member import Status

if TYPE_CHECKING:
    from .member import Rumour


@dataclass(slots=True)
class _Queued:
    rumour: Rumour
    size: int
    number: int
    sent: int = 0


class Dissemination:
    """The rumours still to be spread; bounded by the number of members, as a newer rumour replaces an older one.

    Those sent as often are kept in order: with a thousand members, to sort all of them took longer than all else that
    a packet needs.
    """

    def __init__(self) -> None:
        """Start with nothing to spread."""
        self._queued: dict[str, _Queued] = {}
        self._tiers: dict[int, list[tuple[int, int, _Queued]]] = {}
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
        self.discard(rumour.member.name)
        self._count += 1
        queued = self._queued[rumour.member.name] = _Queued(rumour, len(rumour.encoded), self._count)
        insort(self._tiers.setdefault(0, []), (-queued.size, -queued.number, queued))

    def discard(self, name: str) -> None:
        """Forget the rumour about ``name``, if any."""
        queued = self._queued.pop(name, None)
        if queued is not None:
            self._step_out(queued)

    def _step_out(self, queued: _Queued) -> None:
        tier = self._tiers[queued.sent]
        del tier[bisect_left(tier, (-queued.size, -queued.number))]  # shorter than the key, so just before it

    def take(self, *, budget: int, limit: int, receiver: str = "", besides: str = "") -> list[Rumour]:
        """The rumours for one packet of at most ``budget`` bytes, counted as sent.

        Args:
            budget: bytes left in the packet.
            limit: how often a rumour is sent before it is dropped.
            receiver: name of the member the packet goes to; it is not told that it is alive.
            besides: name of a member the packet already has a rumour about.
        """
        chosen: list[_Queued] = []
        untold: list[_Queued] = []
        for name in dict.fromkeys((receiver, besides)):
            queued = self._queued.get(name)
            if queued is None:
                continue
            if name == besides or queued.rumour.member.status is Status.ALIVE:
                untold.append(queued)  # counted all the same, or it would wait for ever in a cluster of two
            elif queued.size <= budget:
                chosen.append(queued)
                budget -= queued.size
            else:
                continue
            self._step_out(queued)
        for sent in sorted(self._tiers):
            budget -= _take_fitting(self._tiers[sent], budget, chosen)
        for queued in (*untold, *chosen):
            queued.sent += 1
            if queued.sent < limit:
                insort(self._tiers.setdefault(queued.sent, []), (-queued.size, -queued.number, queued))
            else:
                del self._queued[queued.rumour.member.name]
        return [queued.rumour for queued in chosen]


def _take_fitting(tier: list[tuple[int, int, _Queued]], budget: int, chosen: list[_Queued]) -> int:
    """Move what fits from ``tier`` to ``chosen``, the largest first, then the newest; return how many bytes that is."""
    place, left = 0, budget
    while place < len(tier):
        if -tier[place][0] > left:
            place = bisect_left(tier, (-left,), place)  # shorter, so just before
            continue
        _, _, queued = tier.pop(place)
        chosen.append(queued)
        left -= queued.size
    return budget - left
