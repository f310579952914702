"""Broadcasts as one node sees them: what it has heard, what it has still to pass on, and its clock.

What was heard is remembered by id, so that nothing is heard twice, and with its contents, so that somebody who missed
it can have it. The memory is bounded: what is forgotten is older than everything that is remembered, and anything that
old is taken for heard. Only what is heard for the first time is queued, so nothing circulates for ever.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swimring.codec import decode, encode
from swimring.errors import RemoteProtocolError

from .broadcast import LIST_OVERHEAD, Broadcast, encode_payload, time_of
from .lamport import LamportClock
from .messages import Recall, Recap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from swimring.identity import NodeId

REMEMBERED: Final = 4096
"""How many broadcasts a node remembers."""

FAR_AHEAD: Final = 1 << 32
_SMALLEST: Final = 8  # no broadcast is encoded in fewer bytes
_MODULUS: Final = 1 << 64


@dataclass(slots=True)
class _Queued:
    id: bytes
    broadcast: Broadcast
    size: int
    sent: int = 0


class Broadcasts:
    """One node's memory and queue of broadcasts, and its Lamport clock.

    At most 4,096 are remembered: beyond that those of the earliest time are forgotten, and count as heard.
    """

    def __init__(self) -> None:
        """Nothing was said."""
        self.clock = LamportClock()
        self.queue = BroadcastQueue()
        self.ignored = 0
        self._floor = 0
        self._heard: dict[bytes, Broadcast | None] = {}
        self._earliest: list[bytes] = []
        self._checksum = 0

    # ------------------------------------------------------------------------------------------------ saying, hearing

    def say(self, name: str, payload: object, *, origin: NodeId, limit: int, members: int) -> Broadcast:
        """Say something of our own: it is remembered and queued.

        Raises:
            LocalProtocolError: it cannot be encoded, or has with its name more than ``limit`` bytes.
        """
        encoded = encode_payload(name, payload, limit=limit)
        broadcast = Broadcast(time=self.clock.tick(), origin=origin, name=name, encoded=encoded)
        self._remember(broadcast.id, broadcast)
        self.queue.put(broadcast, members=members)
        return broadcast

    def hear(self, broadcast: Broadcast, *, members: int) -> bool:
        """Whether ``broadcast`` is new; it is remembered then, and queued to be passed on."""
        identity = broadcast.id
        if identity in self._heard:
            return False
        if not self._floor < broadcast.time <= self.clock.time + FAR_AHEAD or not _makes_sense(broadcast):
            self.ignored += 1
            return False
        self.clock.witness(broadcast.time)
        self._remember(identity, broadcast)
        self.queue.put(broadcast, members=members)
        return True

    # ------------------------------------------------------------------------------------------------ comparing

    @property
    def recap(self) -> Recap:
        """What tells whether somebody else has heard the same."""
        return Recap(clock=self.clock.time, floor=self._floor, checksum=self._checksum)

    def differs(self, recap: Recap) -> bool:
        """Take somebody's ``recap``; whether it has heard something else than we have."""
        if 0 < recap.clock <= self.clock.time + FAR_AHEAD:
            self.clock.witness(recap.clock - 1)
        return (recap.floor, recap.checksum) != (self._floor, self._checksum)

    def recall(self) -> Recall:
        """Everything we have heard, by id."""
        return Recall(floor=self._floor, ids=tuple(self._heard))

    def lacks(self, recall: Recall) -> tuple[bytes, ...]:
        """Take somebody's ``recall``; the ids in it that are news to us."""
        self._raise_floor(min(recall.floor, self.clock.time))
        return tuple(each for each in recall.ids if self._is_news(each))

    def news_for(self, recall: Recall) -> list[Broadcast]:
        """The broadcasts that the sender of ``recall`` has not heard."""
        theirs = set(recall.ids)
        return [each for identity, each in self._heard.items() if each is not None and identity not in theirs]

    def named(self, ids: Iterable[bytes]) -> list[Broadcast]:
        """The broadcasts with these ids, as far as we have them."""
        return [each for identity in ids if (each := self._heard.get(identity)) is not None]

    def take_for_heard(self, ids: Iterable[bytes]) -> None:
        """These were said before our time."""
        for identity in ids:
            if self._is_news(identity):
                self._remember(identity, None)

    # ------------------------------------------------------------------------------------------------ remembering

    def _is_news(self, identity: bytes) -> bool:
        return identity not in self._heard and self._floor < time_of(identity) <= self.clock.time + FAR_AHEAD

    def _remember(self, identity: bytes, broadcast: Broadcast | None) -> None:
        self._heard[identity] = broadcast
        self._checksum = (self._checksum + int.from_bytes(identity, "big")) % _MODULUS
        heapq.heappush(self._earliest, identity)
        if len(self._heard) > REMEMBERED:
            self._raise_floor(time_of(self._earliest[0]))

    def _raise_floor(self, floor: int) -> None:
        self._floor = max(self._floor, floor)
        while self._earliest and time_of(self._earliest[0]) <= self._floor:
            identity = heapq.heappop(self._earliest)
            del self._heard[identity]
            self._checksum = (self._checksum - int.from_bytes(identity, "big")) % _MODULUS


class BroadcastQueue:
    """The broadcasts still to be passed on, those sent least first.

    Holds max(4,096, 2n), n being the size of the cluster. Beyond that the one sent most often gives way; `full` tells
    those who can wait.
    """

    def __init__(self) -> None:
        """Nothing to pass on."""
        self._by_sent: dict[int, dict[bytes, _Queued]] = {}
        self._length = 0
        self.shed = 0

    def __len__(self) -> int:
        return self._length

    def full(self, *, members: int) -> bool:
        """Whether the next one would take the place of another."""
        return self._length >= max(REMEMBERED, 2 * members)

    def put(self, broadcast: Broadcast, *, members: int) -> None:
        """Queue ``broadcast``, which is not in the queue."""
        if self.full(members=members):
            self._remove(next(iter(self._by_sent[max(self._by_sent)].values())))
            self.shed += 1
        self._add(_Queued(broadcast.id, broadcast, len(encode(broadcast.to_wire()))))

    def clear(self) -> None:
        """There is nobody to pass them on to."""
        self._by_sent.clear()
        self._length = 0

    def share(self, room: int) -> int:
        """How much of the ``room`` in a packet is kept from rumours: a quarter, or what the first one needs if it fits.

        Without the second half of the rule, one that is larger than a quarter would wait until there are no rumours.
        """
        first = next(self._in_order(), None)
        if first is None:
            return 0
        needed = first.size + LIST_OVERHEAD
        return max(room // 4, needed if needed <= room else 0)

    def take(self, *, budget: int, limit: int, receiver: str = "") -> list[Broadcast]:
        """The broadcasts for one packet of at most ``budget`` bytes, counted as sent.

        Args:
            budget: bytes left in the packet.
            limit: how often a broadcast is sent before it is dropped.
            receiver: name of the member the packet goes to; it is not told what it said itself.
        """
        chosen: list[Broadcast] = []
        passed: list[_Queued] = []
        for queued in self._in_order():
            if budget < _SMALLEST:
                break
            if queued.broadcast.origin.name == receiver:
                passed.append(queued)  # or it would wait for ever in a cluster of two
            elif queued.size <= budget:
                passed.append(queued)
                chosen.append(queued.broadcast)
                budget -= queued.size
        for queued in passed:
            self._remove(queued)
            queued.sent += 1
            if queued.sent < limit:
                self._add(queued)
        return chosen

    def _in_order(self) -> Iterator[_Queued]:
        for sent in sorted(self._by_sent):
            yield from self._by_sent[sent].values()

    def _add(self, queued: _Queued) -> None:
        self._by_sent.setdefault(queued.sent, {})[queued.id] = queued
        self._length += 1

    def _remove(self, queued: _Queued) -> None:
        tier = self._by_sent[queued.sent]
        del tier[queued.id]
        self._length -= 1
        if not tier:
            del self._by_sent[queued.sent]


def _makes_sense(broadcast: Broadcast) -> bool:
    try:
        decode(broadcast.encoded)
    except RemoteProtocolError:
        return False
    return True
