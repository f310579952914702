"""One TCP listener for everything: the first byte of a connection picks its protocol.

An unidentified peer gets 5 s and one read; identified ones are bounded by the protocol they picked. Each kind has a
bound of its own, so that a flood of one leaves the others their room. Beyond it one is closed at once (refusing
is cheaper for both sides than a queue): the oldest of those that have said nothing, the newest of a protocol.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from swimring import mux, swim
from swimring.instrument import Instrument, Instruments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from swimring.identity import Address
    from swimring.net import StreamListener

    Serve = Callable[[trio.abc.Stream, Address, bytes], Awaitable[None]]

MAX_UNIDENTIFIED: Final = 256
MAX_GOSSIP: Final = 256
MAX_MUX: Final = 2048
"""Those that wait until the node has joined, above all: a pool has closer bounds (`Limits`)."""
IDENTIFY_WITHIN: Final = 5.0
_FIRST_READ: Final = 65_536
_TLS_HANDSHAKE: Final = 0x16

_log = logging.getLogger("swimring.node")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What serves the connections that begin with a certain byte, given what has been read; and how many at once."""

    serve: Serve
    most: int


class Reception:
    """Accepts connections and hands each to the protocol that its first byte names."""

    def __init__(
        self, listener: StreamListener, protocols: Mapping[int, Protocol], *, instruments: Instruments
    ) -> None:
        """``protocols`` maps a first byte to what serves the connection."""
        self._listener = listener
        self._protocols = protocols
        self._instruments = instruments
        self._unidentified: dict[trio.CancelScope, None] = {}  # in order of arrival
        self._served = dict.fromkeys(protocols, 0)

    async def run(self) -> None:
        """Accept until cancelled; an error of one connection ends that connection only.

        Raises:
            trio.ClosedResourceError: the listener was closed.
        """
        async with trio.open_nursery() as nursery:
            while True:
                stream, remote = await self._listener.accept()
                if len(self._unidentified) >= MAX_UNIDENTIFIED:
                    # Who means it speaks at once, so the oldest is the least likely to.
                    self._refuse("too many connections that say nothing", remote)
                    oldest = next(iter(self._unidentified))
                    del self._unidentified[oldest]
                    oldest.cancel()
                patience = trio.CancelScope(deadline=trio.current_time() + IDENTIFY_WITHIN)
                self._unidentified[patience] = None
                nursery.start_soon(self._receive, stream, remote, patience)

    async def _receive(self, stream: trio.abc.Stream, remote: Address, patience: trio.CancelScope) -> None:
        try:
            await self._identify(stream, remote, patience)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer went away; whoever waited for it on this side has been told by its own protocol
        except Exception as error:  # noqa: BLE001 - a fault in serving one connection is never the end of the node
            _log.exception("serving the connection from %s crashed", remote)
            self._instruments.tell(Instrument.duty_failed, "reception", error)
        finally:
            await trio.aclose_forcefully(stream)

    async def _identify(self, stream: trio.abc.Stream, remote: Address, patience: trio.CancelScope) -> None:
        received = b""
        try:
            with patience:
                received = bytes(await stream.receive_some(_FIRST_READ))
        finally:
            evicted = patience not in self._unidentified
            self._unidentified.pop(patience, None)
        protocol = self._protocols.get(received[0]) if received else None
        if protocol is not None:
            await self._serve(protocol, stream, remote, received)
        elif received or not evicted:
            self._refuse(_what_is_wrong(received), remote)

    async def _serve(self, protocol: Protocol, stream: trio.abc.Stream, remote: Address, received: bytes) -> None:
        magic = received[0]
        if self._served[magic] >= protocol.most:
            self._refuse("too many connections", remote)
            return
        self._served[magic] += 1
        try:
            await protocol.serve(stream, remote, received)
        finally:
            self._served[magic] -= 1

    def _refuse(self, reason: str, remote: Address) -> None:
        self._instruments.refuse_bytes("stream", reason, source=remote, now=trio.current_time())


def _what_is_wrong(received: bytes) -> str:
    if not received:
        return "nothing was sent"
    if received[0] == _TLS_HANDSHAKE:
        return "TLS is not enabled on this node"
    if received[0] & 0xF0 in {swim.MAGIC & 0xF0, mux.MAGIC & 0xF0}:
        return f"protocol version {received[0] & 0x0F} is not spoken here"
    return "unknown protocol"
