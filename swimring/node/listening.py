"""One listener for everything: the first byte of a connection picks its protocol, behind TLS or without it.

An unidentified peer gets 5 s and one read; identified ones are bounded by the protocol they picked. Each kind has a
bound of its own, so that a flood of one leaves the others their room. Beyond it one is closed at once (refusing
is cheaper for both sides than a queue): the oldest of those that have said nothing, the newest of a protocol.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from swimring import mux, swim
from swimring.instrument import Instrument, Instruments
from swimring.net import TlsStream, accept_tls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from swimring.certificates import Certificates
    from swimring.identity import Address
    from swimring.net import StreamListener

    Serve = Callable[[trio.abc.Stream, Address, bytes], Awaitable[None]]

MAX_UNIDENTIFIED: Final = 256
MAX_GOSSIP: Final = 256
MAX_MUX: Final = 2048
"""Those that wait until the node has joined, above all: a pool has closer bounds (`Limits`)."""
IDENTIFY_WITHIN: Final = 5.0
TLS_REQUIRED: Final = "TLS is required on this node"
_FIRST_READ: Final = 65_536
_LAST_WORDS: Final = 0.5
_TLS_HANDSHAKE: Final = b"\x16"

_log = logging.getLogger("swimring.node")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """What serves the connections that begin with a certain byte, given what has been read; and how many at once.

    ``without_tls`` says in the protocol that TLS is required.
    """

    serve: Serve
    most: int
    without_tls: bytes = b""


class Reception:
    """Accepts connections and hands each to the protocol that its first byte names."""

    def __init__(
        self,
        listener: StreamListener,
        protocols: Mapping[int, Protocol],
        *,
        instruments: Instruments,
        certificates: Certificates | None = None,
    ) -> None:
        """``protocols`` maps a first byte to what serves the connection; with ``certificates`` TLS may come before."""
        self._listener = listener
        self._protocols = protocols
        self._instruments = instruments
        self._certificates = certificates
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
            _log.exception("serving the connection from %s crashed", remote, extra={"event": "connection.crashed"})
            self._instruments.tell(Instrument.duty_failed, "reception", error)
        finally:
            await trio.aclose_forcefully(stream)

    async def _identify(self, stream: trio.abc.Stream, remote: Address, patience: trio.CancelScope) -> None:
        received, fault = b"", ""
        try:
            with patience:
                received = bytes(await stream.receive_some(_FIRST_READ))
                if self._certificates is not None and received[:1] == _TLS_HANDSHAKE:
                    stream = await accept_tls(stream, self._certificates, received)
                    received = await stream.receive_some(_FIRST_READ)
        except trio.BrokenResourceError as error:
            if not received:
                raise
            fault = f"TLS: {error}"
        finally:
            evicted = patience not in self._unidentified
            self._unidentified.pop(patience, None)
        if patience.cancelled_caught and evicted:
            return  # it was counted by who took its place
        if patience.cancelled_caught and received:
            fault = "TLS: the handshake took too long"
        protocol = self._protocols.get(received[0]) if received else None
        if fault:
            self._refuse(fault, remote)
        elif protocol is not None:
            await self._serve(protocol, stream, remote, received)
        else:
            self._refuse(_what_is_wrong(received), remote)

    def _is_too_plain(self, stream: trio.abc.Stream) -> bool:
        required = self._certificates is not None and self._certificates.required
        return required and not isinstance(stream, TlsStream)

    async def _serve(self, protocol: Protocol, stream: trio.abc.Stream, remote: Address, received: bytes) -> None:
        magic = received[0]
        if self._served[magic] >= protocol.most:
            self._refuse("too many connections", remote)
            return
        self._served[magic] += 1
        try:
            if self._is_too_plain(stream):
                self._refuse(TLS_REQUIRED, remote)
                await _say(protocol.without_tls, stream)
            else:
                await protocol.serve(stream, remote, received)
        finally:
            self._served[magic] -= 1

    def _refuse(self, reason: str, remote: Address) -> None:
        self._instruments.refuse_bytes("stream", reason, source=remote, now=trio.current_time())


async def _say(words: bytes, stream: trio.abc.Stream) -> None:
    """Say something, and wait a moment for the other side to read it: closing with unread bytes would take it back."""
    if not words:
        return
    with trio.move_on_after(_LAST_WORDS), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(words)
        while await stream.receive_some(_FIRST_READ):
            pass


def _what_is_wrong(received: bytes) -> str:
    if not received:
        return "nothing was sent"
    if received[:1] == _TLS_HANDSHAKE:
        return "TLS is not enabled on this node"
    if received[0] & 0xF0 in {swim.MAGIC & 0xF0, mux.MAGIC & 0xF0}:
        return f"protocol version {received[0] & 0x0F} is not spoken here"
    return "unknown protocol"
