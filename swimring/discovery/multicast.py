"""Seeds on a LAN: who is there answers a question to a multicast group.

datagram    magic | CBOR array: kind, host, port | tag

The kind is 1 for a question and 0 for an answer; both say where their sender can be reached, and both go to the group,
so that one question serves everybody. A node answers after a short random pause, and not at all once three others
have: however many nodes there are, a question costs a handful of datagrams. The tag is 8 bytes of SipHash-2-4 keyed by
the cluster's name: like that of gossip it keeps clusters apart and authenticates nothing. What is learnt is an address
to try, no more.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import siphash24
import trio

from swimring.codec import decode, encode
from swimring.errors import ProtocolError, RemoteProtocolError
from swimring.identity import Address, is_host

if TYPE_CHECKING:
    import random

    from swimring.net import Datagrams

logger = logging.getLogger(__name__)

MAGIC: Final = 0xD1
ANSWERS_WITHIN: Final = 0.2
"""Seconds within which an answer is given."""
ENOUGH_ANSWERS: Final = 3
"""After so many answers to a question the others keep silent."""
ASKED_EVERY: Final = 1.0
"""Seconds that have to pass between two questions, whoever asks."""
FORGOTTEN_AFTER: Final = 600.0
"""Seconds after which an address that was not heard again is no seed any more."""
MOST_HEARD: Final = 256
"""Addresses remembered; beyond, the one heard longest ago is forgotten."""

_ANSWER, _QUESTION = 0, 1
_TAG_SIZE: Final = 8
_LARGEST: Final = 320
_LONGEST_HOST: Final = 253


def multicast_key(cluster: str) -> bytes:
    """The 16-byte key of the tags of ``cluster``; another one than that of gossip, whose datagrams are others."""
    return hashlib.blake2b(cluster.encode(), digest_size=16, person=b"swimring-cast").digest()


def encode_call(address: Address, *, question: bool, key: bytes) -> bytes:
    """The datagram that says ``address``, as a question or as an answer."""
    data = bytes([MAGIC]) + encode([_QUESTION if question else _ANSWER, address.host, address.port])
    return data + _tag(data, key)


def decode_call(data: bytes, *, key: bytes) -> tuple[Address, bool]:
    """The address that a datagram says, and whether it is a question.

    Raises:
        RemoteProtocolError: it is none of this cluster and version.
    """
    body, tag = data[:-_TAG_SIZE], data[-_TAG_SIZE:]
    if not body or len(data) > _LARGEST or body[0] != MAGIC:
        raise RemoteProtocolError("no multicast datagram of this version")
    if not hmac.compare_digest(_tag(body, key), tag):
        raise RemoteProtocolError("of another cluster, or damaged")
    match decode(body[1:]):
        case [int(kind), str(host), int(port), *_] if _can_be_dialled(host, port):
            return Address(host, port), kind == _QUESTION
        case _:
            raise RemoteProtocolError("no address in it")


def _can_be_dialled(host: str, port: int) -> bool:
    # A host that no resolver takes would cost all others their look-up.
    return is_host(host) and len(host) <= _LONGEST_HOST and 0 < port <= 65_535


class MulticastSeeds:
    """The addresses heard in a group. Its `run` has to be running."""

    def __init__(
        self, *, group: Address, datagrams: Datagrams, cluster: str, address: Address, rng: random.Random
    ) -> None:
        """Listen to and talk through ``datagrams``, which are in ``group``; say that this node is at ``address``."""
        self._group = group
        self._datagrams = datagrams
        self._key = multicast_key(cluster)
        self._address = address
        self._rng = rng
        self._heard: OrderedDict[Address, float] = OrderedDict()
        self._asked = -ASKED_EVERY
        self._answers = 0
        self._answering = False

    def __repr__(self) -> str:
        return f"<MulticastSeeds {self._group}>"

    async def addresses(self) -> tuple[Address, ...]:
        """Ask the group, unless somebody just did, and wait for its answers; who was heard of late.

        Raises:
            OSError: the question could not be sent.
        """
        if trio.current_time() - self._asked >= ASKED_EVERY:
            self._note_question()
            await self._say(question=True)
        await trio.sleep(1.5 * ANSWERS_WITHIN)
        oldest = trio.current_time() - FORGOTTEN_AFTER
        return tuple(address for address, heard in self._heard.items() if heard > oldest)

    async def run(self) -> None:
        """Hear others and answer them, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                for data, source in await self._datagrams.receive():
                    self._take(data, source, nursery)

    def _take(self, data: bytes, source: Address, nursery: trio.Nursery) -> None:
        try:
            address, question = decode_call(data, key=self._key)
        except ProtocolError as error:
            logger.debug("multicast from %s: %s", source, error)
            return
        if address == self._address or (_is_loopback(address) and not _is_loopback(source)):
            return  # what another machine calls loopback is not here
        self._heard[address] = trio.current_time()
        self._heard.move_to_end(address)
        if len(self._heard) > MOST_HEARD:
            self._heard.popitem(last=False)
        if not question:
            self._answers += 1
        else:
            self._note_question()
            if not self._answering:  # one answer serves all who ask meanwhile
                self._answering = True
                nursery.start_soon(self._answer)

    def _note_question(self) -> None:
        self._asked, self._answers = trio.current_time(), 0

    async def _answer(self) -> None:
        try:
            await trio.sleep(self._rng.uniform(0, ANSWERS_WITHIN))
            if self._answers < ENOUGH_ANSWERS:
                await self._say(question=False)
        except OSError as error:
            logger.debug("no answer to multicast: %s", error)
        finally:
            self._answering = False

    async def _say(self, *, question: bool) -> None:
        await self._datagrams.send(encode_call(self._address, question=question, key=self._key), self._group)


def _tag(data: bytes, key: bytes) -> bytes:
    return bytes(siphash24.siphash24(data, key=key).digest())


def _is_loopback(address: Address) -> bool:
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False
