"""TLS over any stream, and a network that dials with it.

Trio's own `trio.SSLStream` forgets the alert that says why a handshake failed, so that the other side would learn
nothing but that the connection ended; and it reads one record at a time. This one is for one task that sends
and one that receives, which is what connections here have.
"""

from __future__ import annotations

import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from swimring.certificates import is_end, tls_failure

from .transport import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swimring.certificates import Certificates
    from swimring.identity import Address

    from .transport import Binding, Datagrams, StreamListener

_READ: Final = 65_536
_SLICE: Final = 262_144
"""The most that is encrypted before others have a turn."""
_LAST_WORDS: Final = 0.5
MAX_HANDSHAKE: Final = 64 * 1024
"""What the other side may send before it has shown a certificate that is accepted."""


class TlsStream(trio.abc.Stream):
    """An encrypted stream over another one. `shake_hands` comes first.

    Closing says no farewell to the other side, and an end without one is an end: everything that runs over it says
    itself where it ends. A `send_all` that is cancelled on its way leaves the stream broken.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        wrap: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject],
        *,
        received: bytes = b"",
    ) -> None:
        """Run over ``transport``; ``received`` was read from it before."""
        self._transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(received)
        self._ssl = wrap(self._incoming, self._outgoing)
        self._line = trio.Lock()
        self._busy: set[str] = set()
        self._failure = ""
        self._closed = False

    def __repr__(self) -> str:
        return (
            f"<TlsStream {'closed' if self._closed else self._failure or self._ssl.version()} over {self._transport}>"
        )

    async def shake_hands(self) -> None:
        """Let both sides show their certificates.

        Raises:
            trio.BrokenResourceError: one of them does not accept the other; the text says which, and why.
        """
        taken = self._incoming.pending
        while True:
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError as error:
                if taken > MAX_HANDSHAKE:
                    self._failure = f"more than {MAX_HANDSHAKE} bytes and no end of the TLS handshake"
                    raise trio.BrokenResourceError(self._failure) from error
                await self._send()
                taken += await self._receive()
            except ssl.SSLError as error:
                self._failure = "it hung up during the TLS handshake" if is_end(error) else tls_failure(error)
                await self._say_why()
                raise trio.BrokenResourceError(self._failure) from error
            else:
                await self._send()
                return

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        with self._alone("sending"):
            if not data:
                await trio.lowlevel.checkpoint()
            view = memoryview(data)
            for start in range(0, len(view), _SLICE):
                await trio.lowlevel.checkpoint_if_cancelled()
                self._ssl.write(view[start : start + _SLICE])
                await self._send()

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below says."""
        with self._alone("sending"):
            await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has arrived, decrypted; none at the end, of whatever kind."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._alone("receiving"):
            await trio.lowlevel.checkpoint_if_cancelled()
            waited = False
            while (data := self._decrypt(max_bytes or _READ)) is None:
                await self._send()  # an answer to what was read, such as new keys
                await self._receive()
                waited = True
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return data

    async def aclose(self) -> None:
        """Close the stream below."""
        self._closed = True
        await self._transport.aclose()

    # ---------------------------------------------------------------------------------------------------- inside

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._failure:
            raise trio.BrokenResourceError(self._failure)
        if what in self._busy:
            raise trio.BusyResourceError(f"another task is {what} on this stream")
        self._busy.add(what)
        try:
            yield
        finally:
            self._busy.discard(what)

    def _decrypt(self, room: int) -> bytes | None:
        """What is there already, of several records (each of at most 16 KiB); None if more has to arrive first."""
        records: list[bytes] = []
        try:
            while room > 0:
                record = self._ssl.read(room)
                if not record:
                    break  # the other side says that this is the end, and will say so again
                records.append(record)
                room -= len(record)
        except ssl.SSLWantReadError:
            if not records:
                return None
        except ssl.SSLError as error:
            if not is_end(error):
                self._failure = tls_failure(error)  # the next read raises it, if there is something to return first
                if not records:
                    raise trio.BrokenResourceError(self._failure) from error
        return b"".join(records)

    async def _send(self) -> None:
        if not self._outgoing.pending:
            return
        async with self._line:
            data = self._outgoing.read()
            if not data:
                return  # the other task has sent it along
            try:
                await self._transport.send_all(data)
            except BaseException:
                self._failure = self._failure or "the connection broke while something was sent"
                raise

    async def _say_why(self) -> None:
        """Send the alert, and read what is on its way: a socket that is closed with unread bytes takes it back."""
        with trio.move_on_after(_LAST_WORDS), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._send()
            while await self._transport.receive_some(_READ):
                pass

    async def _receive(self) -> int:
        """Take what arrives, or the end; how many bytes that were."""
        data = await self._transport.receive_some(_READ)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return len(data)


async def accept_tls(stream: trio.abc.Stream, certificates: Certificates, received: bytes) -> TlsStream:
    """Answer the TLS hello that ``received`` begins with.

    Raises:
        trio.BrokenResourceError: no connection comes of it; the text says why.
    """
    secured = TlsStream(stream, certificates.accepting, received=received)
    await secured.shake_hands()
    return secured


class TlsNetwork(Network):
    """Another network, whose streams are dialled with TLS; Unix sockets stay plain, as they never leave the machine."""

    def __init__(self, network: Network, certificates: Certificates) -> None:
        """Dial through ``network``."""
        self.private = network.private
        self._network = network
        self._certificates = certificates

    async def connect(self, address: Address) -> trio.abc.Stream:
        """Dial, and shake hands.

        Raises:
            OSError: as of `Network.connect`; or one side does not accept the other, as the text says.
        """
        stream = await self._network.connect(address)
        if address.path is not None or not self._certificates.dials:
            return stream
        try:
            secured = TlsStream(stream, lambda there, back: self._certificates.dialling(there, back, address.host))
            await secured.shake_hands()
        except BaseException as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error, trio.BrokenResourceError):
                raise OSError(str(error) or "it hung up during the TLS handshake") from error
            raise
        return secured

    async def bind(self, address: Address) -> Binding:
        """As the network below does; who accepts decides whether TLS is spoken."""
        return await self._network.bind(address)

    async def bind_unix(self, path: str) -> StreamListener:
        """As the network below does."""
        return await self._network.bind_unix(path)

    async def join_group(self, group: Address, *, interface: str) -> Datagrams:
        """As the network below does."""
        return await self._network.join_group(group, interface=interface)

    async def resolve(self, address: Address) -> list[Address]:
        """As the network below does."""
        return await self._network.resolve(address)
