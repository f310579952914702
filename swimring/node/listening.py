"""One TCP listener for everything: the first byte of a connection picks its protocol.

An unidentified peer gets 5 s and one read; identified ones are bounded by the protocol they picked. Beyond
`MAX_CONNECTIONS` a new connection is closed at once: refusing is cheaper for both sides than a queue.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring import mux, swim
from swimring.instrument import Instrument, Instruments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from swimring.identity import Address
    from swimring.net import StreamListener

    Serve = Callable[[trio.abc.Stream, Address, bytes], Awaitable[None]]

MAX_CONNECTIONS: Final = 1024
IDENTIFY_WITHIN: Final = 5.0
_FIRST_READ: Final = 65_536
_TLS_HANDSHAKE: Final = 0x16

_log = logging.getLogger("swimring.node")


class Reception:
    """Accepts connections and hands each to the protocol that its first byte names."""

    def __init__(self, listener: StreamListener, protocols: Mapping[int, Serve], *, instruments: Instruments) -> None:
        """``protocols`` maps a first byte to what serves the connection, given what has been read of it."""
        self._listener = listener
        self._protocols = protocols
        self._instruments = instruments

    async def run(self) -> None:
        """Accept until cancelled; an error of one connection ends that connection only.

        Raises:
            trio.ClosedResourceError: the listener was closed.
        """
        async with trio.open_nursery() as nursery:
            while True:
                stream, remote = await self._listener.accept()
                if len(nursery.child_tasks) >= MAX_CONNECTIONS:
                    self._refuse("too many connections", remote)
                    await trio.aclose_forcefully(stream)
                else:
                    nursery.start_soon(self._receive, stream, remote)

    async def _receive(self, stream: trio.abc.Stream, remote: Address) -> None:
        try:
            await self._identify(stream, remote)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer went away; whoever waited for it on this side has been told by its own protocol
        except Exception as error:  # noqa: BLE001 - a fault in serving one connection is never the end of the node
            _log.exception("serving the connection from %s crashed", remote)
            self._instruments.tell(Instrument.duty_failed, "reception", error)
        finally:
            await trio.aclose_forcefully(stream)

    async def _identify(self, stream: trio.abc.Stream, remote: Address) -> None:
        received = b""
        with trio.move_on_after(IDENTIFY_WITHIN):
            received = bytes(await stream.receive_some(_FIRST_READ))
        serve = self._protocols.get(received[0]) if received else None
        if serve is not None:
            await serve(stream, remote, received)
        else:
            self._refuse(_what_is_wrong(received), remote)

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
