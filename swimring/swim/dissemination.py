"""Which rumours to piggyback, in which order, how often.

At most one rumour per member is queued, the newest. Each packet takes what concerns its receiver first (so that an
accused member hears of it at once), then what has been sent least, of those the largest that still fits, then the
newest. A rumour is done when it has been sent as often as the limit says; counted per packet, that is per receiver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from swimring.codec import encode

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
    """The rumours still to be spread; bounded by the number of members, as a newer rumour replaces an older one."""

    def __init__(self) -> None:
        """Start with nothing to spread."""
        self._queued: dict[str, _Queued] = {}
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
        self._count += 1
        self._queued[rumour.member.name] = _Queued(rumour, len(encode(rumour.to_wire())), self._count)

    def discard(self, name: str) -> None:
        """Forget the rumour about ``name``, if any."""
        self._queued.pop(name, None)

    def take(self, *, budget: int, limit: int, receiver: str = "", besides: str = "") -> list[Rumour]:
        """The rumours for one packet of at most ``budget`` bytes, counted as sent.

        Args:
            budget: bytes left in the packet.
            limit: how often a rumour is sent before it is dropped.
            receiver: name of the member the packet goes to; it is not told that it is alive.
            besides: name of a member the packet already has a rumour about.
        """
        chosen: list[Rumour] = []
        for queued in sorted(self._queued.values(), key=lambda each: self._rank(each, receiver)):
            member = queued.rumour.member
            if member.name == besides or (member.name == receiver and member.status is Status.ALIVE):
                self._count_sent(queued, limit)  # or it would wait for ever in a cluster of two
            elif queued.size <= budget:
                self._count_sent(queued, limit)
                chosen.append(queued.rumour)
                budget -= queued.size
        return chosen

    def _count_sent(self, queued: _Queued, limit: int) -> None:
        queued.sent += 1
        if queued.sent >= limit:
            del self._queued[queued.rumour.member.name]

    @staticmethod
    def _rank(queued: _Queued, receiver: str) -> tuple[bool, int, int, int]:
        return (queued.rumour.member.name != receiver, queued.sent, -queued.size, -queued.number)
