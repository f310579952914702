"""Questions of the gossip itself, asked by a stranger: who gets a ping answers it, whoever asks; and passes one on."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio

from swimring.gossip import Envelopes
from swimring.identity import NodeId
from swimring.net import SystemHost
from swimring.security import Keyring, Sealing
from swimring.swim import Ack, BytesRefused, Envelope, Nack, Ping, PingRequest

from .findings import LARGEST, PINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from swimring.identity import Address
    from swimring.swim import Member, Message

MOST_WAYS: Final = 16
"""Members that each member is asked to ping."""
_PATIENCE: Final = 1.5
_BUDGET: Final = 0.8
"""Seconds after which a member says that another has not answered."""
_ASKED_TWICE: Final = 2
"""One lost datagram is no closed way."""
_LARGE_FROM: Final = 1_000
_WAYS_FROM: Final = 2_000
_IP_MTU: Final = 14
"""The socket option of Linux; the module `socket` has no name for it."""


@dataclass(slots=True)
class Heard:
    """What a member answered.

    Attributes:
        small: small pings.
        large: pings as large as a datagram gets.
        mtu: the largest packet of the way, as far as this machine's kernel knows it afterwards.
        reached: who answered it, of those it was asked to ping.
        missed: who did not.
    """

    small: int = 0
    large: int = 0
    mtu: int | None = None
    reached: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)


class Pinging:
    """Asks members of one cluster by datagrams."""

    def __init__(self, cluster: str, keys: tuple[bytes, ...] | None) -> None:
        """With the ``keys`` of a cluster that has a secret."""
        keyring = None if keys is None else Keyring(keys)
        self._envelopes = Envelopes(cluster=cluster, host=SystemHost(), keyring=keyring, sealing=Sealing.REQUIRE)
        self._me = NodeId(f"doctor-{secrets.token_hex(4)}", 1)

    async def ask(self, member: Member, address: Address, others: Sequence[Member]) -> Heard:
        """Ping ``member``, and have it ping the first 16 of ``others``."""
        heard, others = Heard(), others[:MOST_WAYS]
        try:
            async with await anyio.create_connected_udp_socket(address.host, address.port) as link:
                for datagram in self._questions(member, others):
                    with suppress(OSError, anyio.BrokenResourceError):
                        await link.send(datagram)
                await self._listen(link, others, heard)
                heard.mtu = _mtu_of(link)
        except (OSError, UnicodeError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # nobody listens there, or it is no address: as good as silent
        heard.missed -= heard.reached
        return heard

    def _questions(self, member: Member, others: Sequence[Member]) -> Iterator[bytes]:
        for number in range(1, PINGS + 1):
            yield self._envelopes.write_datagram(self._ask(member, Ping(), number))
        for number in range(_LARGE_FROM, _LARGE_FROM + PINGS):
            yield self._envelopes.write_padded_ping(self._ask(member, Ping(), number), size=LARGEST)
        for number, other in enumerate(list(others) * _ASKED_TWICE, start=_WAYS_FROM):
            ask = PingRequest(target=other.id, budget=_BUDGET)
            yield self._envelopes.write_datagram(self._ask(member, ask, number))

    def _ask(self, member: Member, message: Message, number: int) -> Envelope:
        return Envelope(source=self._me, incarnation=1, destination=member.id, sequence=number, message=message)

    async def _listen(self, link: anyio.abc.ConnectedUDPSocket, others: Sequence[Member], heard: Heard) -> None:
        numbers = set[int]()
        with anyio.move_on_after(_PATIENCE):
            while not (heard.small == heard.large == PINGS and len(heard.reached) == len(others)):
                try:
                    envelope = self._envelopes.read_datagram(await link.receive())
                except (BytesRefused, anyio.BrokenResourceError):
                    continue
                if envelope.sequence >= _WAYS_FROM:
                    other = others[(envelope.sequence - _WAYS_FROM) % len(others)] if others else None
                    if other is not None and isinstance(envelope.message, (Ack, Nack)):
                        (heard.reached if isinstance(envelope.message, Ack) else heard.missed).add(other.name)
                elif envelope.sequence not in numbers:
                    numbers.add(envelope.sequence)
                    heard.small += envelope.sequence < _LARGE_FROM
                    heard.large += envelope.sequence >= _LARGE_FROM


def _mtu_of(link: Any) -> int | None:
    raw = link.extra(anyio.abc.SocketAttribute.raw_socket, None)  # noqa: S610 - not of Django
    try:
        return None if raw is None else int(raw.getsockopt(socket.IPPROTO_IP, _IP_MTU))
    except OSError:
        return None
