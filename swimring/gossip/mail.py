"""Datagrams out: envelopes with as many rumours and broadcasts as fit."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import trio

from swimring.swim import (
    Ack,
    Envelope,
    KeyMissing,
    Rumour,
    Status,
    carries_broadcasts,
    room_for_broadcasts,
    room_for_rumours,
)

if TYPE_CHECKING:
    from swimring.identity import Address, NodeId
    from swimring.net import Datagrams
    from swimring.swim import Member, Message, Profile

    from .beliefs import Beliefs
    from .broadcasting import Broadcasting
    from .envelopes import Envelopes
    from .names import Names

_log = logging.getLogger("swimring.gossip")
_SHOW_INTERVAL: Final = 1.0
_SHOWN_LIMIT: Final = 1024


@dataclass(slots=True)
class Traffic:
    """What went over the datagram port so far."""

    datagrams_sent: int = 0
    bytes_sent: int = 0
    datagrams_received: int = 0
    bytes_received: int = 0
    sends_failed: int = 0
    packets: Counter[tuple[str, str]] = field(default_factory=Counter)

    def received(self, size: int, message: Message | None) -> None:
        """One more datagram; without a message it was refused."""
        self.datagrams_received += 1
        self.bytes_received += size
        self.packets["in", "refused" if message is None else type(message).__name__] += 1

    def sent(self, size: int, message: Message) -> None:
        """One more datagram."""
        self.datagrams_sent += 1
        self.bytes_sent += size
        self.packets["out", type(message).__name__] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An envelope that came in a datagram.

    Attributes:
        envelope: what it says.
        source: where it came from.
        size: of the datagram, in bytes.
    """

    envelope: Envelope
    source: Address
    size: int


class Mail:
    """Sends messages to members."""

    def __init__(
        self,
        *,
        beliefs: Beliefs,
        broadcasting: Broadcasting,
        datagrams: Datagrams,
        names: Names,
        envelopes: Envelopes,
        profile: Profile,
    ) -> None:
        """Send through ``datagrams`` what ``envelopes`` write."""
        self._membership = beliefs.membership
        self._broadcasting = broadcasting
        self._datagrams = datagrams
        self._names = names
        self._envelopes = envelopes
        self._budget = profile.datagram_budget - envelopes.overhead
        self._shown: dict[Address, float] = {}
        self._sequence = 0
        self.traffic = Traffic()

    def next_sequence(self) -> int:
        """A number for a question; answers repeat it."""
        self._sequence += 1
        return self._sequence

    async def send(self, message: Message, *, to: Member, sequence: int = 0) -> bool:
        """Send to a known member, with rumours; False if the network did not take it."""
        return await self._post(message, self._compose(message, to=to.id, sequence=sequence, known=to), to.address)

    async def reply(self, message: Message, *, to: Delivery) -> bool:
        """Answer to where a question came from; with rumours only if that is the address of a member we know.

        Anybody else gets no more bytes than it sent, or no answer: a forged sender must not make an amplifier of us.
        """
        asker, sequence = to.envelope.source, to.envelope.sequence
        known = self._membership.get(asker.name)
        if known is not None and await self._lives_at(known, to.source):
            payload = self._compose(message, to=asker, sequence=sequence, known=known)
            return await self._post(message, payload, to.source)
        bare = Ack() if isinstance(message, Ack) else message
        payload = self._compose(bare, to=asker, sequence=sequence, known=None)
        return len(payload) <= to.size and await self._post(bare, payload, to.source)

    async def gossip(self, message: Message, *, to: Member) -> bool:
        """Send rumours and broadcasts alone; nothing is sent when there are none for ``to``."""
        envelope = self._envelope(message, to=to.id, sequence=0, known=to)
        nothing = not envelope.rumours and not envelope.broadcasts
        return nothing or await self._post(message, self._envelopes.write_datagram(envelope), to.address)

    async def show_key(self, at: Address, *, at_most: int) -> None:
        """Let who seals with a key that we lack see which one we use; in ``at_most`` bytes, once a second."""
        now = trio.current_time()
        if now < self._shown.get(at, now):
            return
        if len(self._shown) >= _SHOWN_LIMIT:
            self._shown.clear()
        self._shown[at] = now + _SHOW_INTERVAL
        me = self._membership.me
        envelope = Envelope(source=me.id, incarnation=me.incarnation, destination=None, message=KeyMissing())
        payload = self._envelopes.write_datagram(envelope)
        if len(payload) <= at_most:
            await self._post(envelope.message, payload, at)

    def _compose(self, message: Message, *, to: NodeId, sequence: int, known: Member | None) -> bytes:
        return self._envelopes.write_datagram(self._envelope(message, to=to, sequence=sequence, known=known))

    def _envelope(self, message: Message, *, to: NodeId, sequence: int, known: Member | None) -> Envelope:
        accused = () if known is None else self._about_receiver(known.name)
        envelope = self._with_rumours(accused, message, to=to, sequence=sequence)
        if known is None:
            return envelope
        room = room_for_rumours(envelope, budget=self._budget)
        share = self._share_of_broadcasts(message, known, room)
        more = self._membership.rumours.take(
            budget=room - share,
            limit=self._membership.retransmit_limit,
            receiver=known.name,
            besides=known.name if accused else "",
        )
        if more:
            envelope = self._with_rumours((*accused, *more), message, to=to, sequence=sequence)
        return self._with_broadcasts(envelope, receiver=known.name) if share else envelope

    def _with_rumours(self, rumours: tuple[Rumour, ...], message: Message, *, to: NodeId, sequence: int) -> Envelope:
        me = self._membership.me
        return Envelope(
            source=me.id,
            incarnation=me.incarnation,
            destination=to,
            sequence=sequence,
            message=message,
            rumours=rumours,
        )

    def _share_of_broadcasts(self, message: Message, to: Member, room: int) -> int:
        # The dead hear rumours, so that they can refute; what applications say they hear when they are back.
        hears = carries_broadcasts(message) and to.status.active
        return self._broadcasting.broadcasts.queue.share(room) if hears else 0

    def _with_broadcasts(self, envelope: Envelope, *, receiver: str) -> Envelope:
        told = self._broadcasting.broadcasts.queue.take(
            budget=room_for_broadcasts(envelope, budget=self._budget),
            limit=self._membership.retransmit_limit,
            receiver=receiver,
        )
        self._broadcasting.sent()
        return replace(envelope, broadcasts=tuple(told))

    def _about_receiver(self, name: str) -> tuple[Rumour, ...]:
        # Lifeguard's buddy system: who is accused hears of it from everybody who talks to it, and can speak up.
        record = self._membership.get(name)
        if record is None or record.status is Status.ALIVE:
            return ()
        accuser = self._membership.me.name if record.status is Status.SUSPECT else ""
        return (Rumour(member=record, accuser=accuser),)

    async def _lives_at(self, member: Member, source: Address) -> bool:
        try:
            return source in (member.address, await self._names.numeric(member.address))
        except OSError:
            return False

    async def _post(self, message: Message, payload: bytes, to: Address) -> bool:
        try:
            await self._datagrams.send(payload, await self._names.numeric(to))
        except OSError as error:
            self.traffic.sends_failed += 1
            _log.debug("a datagram to %s could not be sent: %s", to, error)
            return False
        self.traffic.sent(len(payload), message)
        return True
