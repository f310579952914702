"""The membership, and who must know when it changes: the duties, the listeners, the instruments.

Everything that changes the membership goes through here, synchronously: decide, then tell.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import Evicted, NameConflict
from swimring.instrument import Instrument
from swimring.swim import Change, Membership, NameConflicted, Status

from .subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from swimring.identity import NodeId
    from swimring.instrument import Instruments
    from swimring.swim import Member, Metadata, Rumour, Suspicion

_log = logging.getLogger("swimring.gossip")
_VERDICTS: Final = 64


class Beliefs:
    """What the duties of one node share."""

    def __init__(self, membership: Membership, instruments: Instruments) -> None:
        """Wrap ``membership``; duties add themselves to ``followers``; ``quiet_since`` is when it changed last.

        ``verdicts`` are the names of the last 64 that we declared dead ourselves and have not told so.
        """
        self.membership = membership
        self.verdicts: deque[str] = deque(maxlen=_VERDICTS)
        self.followers: list[Callable[[Change], None]] = []
        self.listeners = Subscriptions(lambda: membership.members)
        self.instruments = instruments
        self.quiet_since = trio.current_time()
        self._outbid = trio.Event()
        self._evicted = False
        self._told: dict[str, Status] = {}

    def hear(self, rumours: Iterable[Rumour], *, source: str) -> set[str]:
        """Take rumours out of a packet of ``source``; the names of those who must hear at once that we live."""
        answer: set[str] = set()
        now = trio.current_time()
        for rumour in self.membership.news_in(rumours):
            change = self.membership.apply(rumour, now=now)
            if change is None:
                continue
            self._follow(change)
            if change.refuted:
                answer |= {source, rumour.accuser or source}
        return answer

    def merge(self, shown: Iterable[Rumour], *, source: str = "") -> bool:
        """Take records out of the full state of ``source``; True if somebody was wrong about us."""
        refuted = False
        for rumour in shown:
            change = self._follow(self.membership.merge(rumour, source=source, now=trio.current_time()))
            refuted |= change is not None and change.refuted
        return refuted

    def accuse(self, accused: Member) -> None:
        """A probe of ``accused`` failed."""
        self._follow(self.membership.accuse(accused, now=trio.current_time()))

    def declare_dead(self, suspicion: Suspicion) -> None:
        """A suspect did not speak up in time."""
        if self._follow(self.membership.declare_dead(suspicion, now=trio.current_time())):
            self.verdicts.append(suspicion.suspect.name)

    def bury(self, casualty: NodeId) -> None:
        """There is proof of a death."""
        self._follow(self.membership.bury(casualty, now=trio.current_time()))

    def evict(self, name: str) -> bool:
        """An operator says that this member is dead; False if it takes no part anyway."""
        change = self._follow(self.membership.evict(name, now=trio.current_time()))
        if change is not None:
            self.verdicts.append(name)
            _log.warning(
                "%s is evicted: an operator has declared it dead", name, extra={"event": "member.evicted", "peer": name}
            )
        return change is not None

    def update_metadata(self, metadata: Metadata) -> None:
        """We have something new to tell about us."""
        self._follow(self.membership.update_metadata(metadata, now=trio.current_time()))

    def leave(self) -> None:
        """We say farewell."""
        self._follow(self.membership.leave(now=trio.current_time()))

    def forget(self) -> list[str]:
        """Drop tombstones whose time is over; the names of those who had them."""
        names = [member.name for member in self.membership.forget(now=trio.current_time())]
        for name in names:
            self._told.pop(name, None)
            self.instruments.tell(Instrument.member_changed, name, "forgotten")
        return names

    async def wait_outbid(self) -> None:
        """Wait until somebody runs under our name with a newer generation, or has evicted us.

        Raises:
            NameConflict: that has happened.
            Evicted: an operator has declared us dead.
        """
        await self._outbid.wait()
        if self._evicted:
            raise Evicted(f"an operator has declared {self.membership.me.name} dead; start it again to bring it back")
        raise NameConflict(f"another process runs under the name {self.membership.me.name} with a newer generation")

    def _follow(self, change: Change | None) -> Change | None:
        if change is None:
            return None
        if change.outbid or change.evicted:
            self._evicted = change.evicted
            self._outbid.set()
            return change
        self.quiet_since = trio.current_time()
        for follow in self.followers:
            follow(change)
        self._tell(change)
        return change

    def _tell(self, change: Change) -> None:
        member = change.member
        if self._told.get(member.name) is not member.status:
            self._told[member.name] = member.status
            self.instruments.tell(Instrument.member_changed, member.name, member.status.word)
        for event in change.events:
            if isinstance(event, NameConflicted):
                more = f" ({event.repeated} more times since the last line)" if event.repeated else ""
                _log.warning(
                    "%s is claimed by %s and by %s%s",
                    member.name,
                    member.address,
                    event.other,
                    more,
                    extra={"event": "member.conflict", "peer": member.name},
                )
            elif _log.isEnabledFor(logging.INFO):
                _log.info(
                    "%s %s (generation %d, incarnation %d)",
                    member.name,
                    member.status.word,
                    *member.precedence[:2],
                    extra={"event": f"member.{member.status.word}", "peer": member.name},
                )
            self.listeners.publish(event)
