"""What arrives at a port with TLS: before, during and after the handshake.

Nothing but the end of that connection may come of it, counted once and told why, within the bounds of a peer that has
shown nothing: 64 KiB and 5 s for the handshake, and as much again for the hello behind it.
"""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from swimring.certificates import Certificates
from swimring.identity import Address
from swimring.instrument import Instruments
from swimring.mux.frames import MAGIC
from swimring.net import StreamListener
from swimring.node.listening import IDENTIFY_WITHIN, Protocol, Reception
from tests.certificates.authority import Authority
from tests.examples import examples
from tests.rpc.wires import PATIENT, Witness, open_end, open_wires

from .targets import GREETING
from .test_fuzz_mux import frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import TypeAlias

    from trio.testing import MemoryReceiveStream, MemorySendStream

    Stapled: TypeAlias = trio.StapledStream[MemorySendStream, MemoryReceiveStream]

KIB = 1024
WITHIN = 2 * IDENTIFY_WITHIN + 2  # the handshake, the hello, and last words
TAKEN_AT_MOST = 2 * 64 * KIB + 64 * KIB  # one read more than what is allowed on either side of the handshake


class Counted(trio.abc.Stream):
    """Counts what is read of a stream, and for how long it is open."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.taken = 0
        self.closed_at: float | None = None
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(max_bytes))
        self.taken += len(data)
        return data

    async def aclose(self) -> None:
        if self.closed_at is None:
            self.closed_at = trio.current_time()
        await self._stream.aclose()


class OneCaller(StreamListener):
    """Accepts one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._streams = [stream]

    async def accept(self) -> tuple[trio.abc.Stream, Address]:
        await trio.lowlevel.checkpoint()
        if not self._streams:
            await trio.sleep_forever()
        return self._streams.pop(), Address("mallory", 1)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Attack:
    """What somebody sends, who may even have a certificate."""

    before: bytes = b""
    """Instead of the handshake, if there is any."""
    damaged: int = 9
    """Which of the caller's flights arrives damaged; there are two."""
    place: int = 0
    damage: bytes = b""
    cut: bool = False
    sealed: bytes = b""
    """Sent encrypted when the handshake is over."""
    bare: bytes = b""
    """Sent as it is after that."""
    ends: bool = False
    """Whether the end is said, or nothing more."""

    def spoil(self, flight: int, data: bytes) -> bytes:
        if flight != self.damaged or not data:
            return data
        place = self.place % len(data)
        return data[:place] + self.damage + (b"" if self.cut else data[place + len(self.damage) :])


class Caller:
    """The attacker's end."""

    def __init__(self, stream: Stapled, certificates: Certificates) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = certificates.dialling(self._incoming, self._outgoing, "b")

    async def attack(self, attack: Attack) -> None:
        """Do it, and wait until the node has closed the connection."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            if attack.before:
                await self._stream.send_all(attack.before)
            else:
                await self._shake_hands(attack)
                if attack.sealed:
                    self._ssl.write(attack.sealed)
                await self._stream.send_all(self._outgoing.read())
            if attack.bare:
                await self._stream.send_all(attack.bare)
            if attack.ends:
                await self._stream.send_eof()
        with suppress(trio.BrokenResourceError):
            while await self._stream.receive_some():
                pass

    async def _shake_hands(self, attack: Attack) -> None:
        for flight in range(3):
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                await self._stream.send_all(attack.spoil(flight, self._outgoing.read()))
                self._incoming.write(bytes(await self._stream.receive_some()))
            else:
                await self._stream.send_all(attack.spoil(flight, self._outgoing.read()))
                return


@asynccontextmanager
async def port(certificates: Certificates) -> AsyncIterator[tuple[Stapled, Counted, Witness]]:
    """The attacker's end of a connection to a node's port, the node's end, and what the node tells."""
    ours, theirs = memory_stream_pair()
    counted = Counted(theirs)
    async with open_wires() as wires, open_end(wires, "node", limits=PATIENT) as b, trio.open_nursery() as nursery:
        protocols = {MAGIC: Protocol(serve=b.pool.serve_stream, most=10)}
        reception = Reception(
            OneCaller(counted), protocols, instruments=Instruments([b.witness]), certificates=certificates
        )
        nursery.start_soon(reception.run)
        yield ours, counted, b.witness
        nursery.cancel_scope.cancel()


async def suffer(attack: Attack, certificates: Certificates) -> Witness:
    async with port(certificates) as (stream, counted, witness):
        with trio.move_on_after(WITHIN) as patience:
            await Caller(stream, certificates).attack(attack)
        assert not patience.cancelled_caught, "the connection is still open"
        assert counted.closed_at is not None
        assert counted.taken <= TAKEN_AT_MOST
        assert witness.failed_duties == []
        assert len(witness.refused) <= 1
    return witness


def under_attack(attack: Attack, certificates: Certificates) -> Witness:
    return trio.run(suffer, attack, certificates, clock=MockClock(autojump_threshold=0))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(Authority(tmp_path_factory.mktemp("authority")).issue())


records = st.builds(
    lambda kind, body, claimed: bytes([kind, 3, 3]) + (claimed or len(body)).to_bytes(2, "big") + body,
    st.integers(20, 24),
    st.binary(max_size=200),
    st.integers(0, 65_535),
)
conversations = st.lists(frames, max_size=6).map(lambda parts: GREETING + b"".join(parts))
attacks = st.one_of(
    st.builds(Attack, before=st.binary(min_size=1, max_size=300) | records, ends=st.booleans()),
    st.builds(
        Attack,
        damaged=st.integers(0, 1),
        place=st.integers(0, 4_000),
        damage=st.binary(max_size=20) | records,
        cut=st.booleans(),
        bare=st.binary(max_size=100) | records,
        ends=st.booleans(),
    ),
    # What ends without a word would be a peer in good order: something that is no frame comes last.
    st.builds(
        Attack,
        sealed=st.binary(max_size=300) | conversations,
        bare=st.binary(min_size=6, max_size=100) | records,
        ends=st.just(True),
    ),
)


def test_whatever_is_sent_ends_that_connection_and_nothing_else(certificates: Certificates) -> None:
    @examples(80)
    @given(attacks)
    def run(attack: Attack) -> None:
        under_attack(attack, certificates)

    run()


def test_a_handshake_that_has_no_end_is_ended_at_64_kibibytes(certificates: Certificates) -> None:
    # A ClientHello of 130,000 bytes, in records of 16 KiB: OpenSSL would keep all of it.
    message = b"\x01" + (130_000).to_bytes(3, "big") + b"\x03\x03" + bytes(129_000)
    pieces = [message[start : start + 16_384] for start in range(0, len(message), 16_384)]
    before = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    witness = under_attack(Attack(before=before), certificates)
    assert len(witness.refused) == 1
    assert "TLS: more than 65536 bytes" in witness.refused[0]


def test_a_handshake_that_stops_half_way_has_five_seconds(certificates: Certificates) -> None:
    witness = under_attack(Attack(before=b"\x16\x03\x01\x02\x00\x01"), certificates)
    assert witness.refused == ["TLS: the handshake took too long"]


@pytest.mark.parametrize("sealed", [b"", GREETING[:9]])
def test_whoever_has_a_certificate_and_says_no_hello_is_dropped_as_well(
    certificates: Certificates, sealed: bytes
) -> None:
    witness = under_attack(Attack(sealed=sealed), certificates)
    assert len(witness.refused) == 1
