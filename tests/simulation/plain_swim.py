"""Members of a crowd without what Lifeguard and we have added to SWIM, to measure what that is worth.

Off are: local health; suspicions that start long; the word to the accused in pings and their answers (the buddy
system; by gossip it may hear it like anybody else); and what we add, the doubt of a process whose timers are late.
"""

from __future__ import annotations

import dataclasses
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from swimring.net import Datagrams
from swimring.swim import Gossip, Profile, decode_datagram, encode_datagram, tag_key

from .crowd import Crowd, open_crowd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.identity import Address

LAN = Profile.lan()
PLAIN_LAN = dataclasses.replace(LAN, health_limit=0, suspicion_beta=1, lag_tolerance=1e9)
_KEY = tag_key("crowd")


@asynccontextmanager
async def open_lan_crowd(*, lifeguard: bool) -> AsyncIterator[Crowd]:
    """A crowd with the profile lan, whole or without Lifeguard."""
    async with open_crowd(profile=LAN if lifeguard else PLAIN_LAN) as crowd:
        if not lifeguard:
            crowd.tap = lambda _name, datagrams: _Unkind(datagrams)
        yield crowd


class _Unkind(Datagrams):
    """Takes out of pings and answers what they say of their receiver."""

    def __init__(self, datagrams: Datagrams) -> None:
        self._datagrams = datagrams

    async def send(self, payload: bytes, to: Address) -> None:
        envelope = decode_datagram(payload, key=_KEY)
        receiver = envelope.destination
        if receiver is not None and envelope.rumours and not isinstance(envelope.message, Gossip):
            others = tuple(rumour for rumour in envelope.rumours if rumour.member.name != receiver.name)
            payload = encode_datagram(dataclasses.replace(envelope, rumours=others), key=_KEY)
        await self._datagrams.send(payload, to)

    async def receive(self) -> list[tuple[bytes, Address]]:
        return await self._datagrams.receive()

    def close(self) -> None:
        self._datagrams.close()
