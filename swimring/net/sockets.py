"""The real network: one UDP socket and one TCP listener on the same port, by non-blocking system calls.

Addresses handed to `Datagrams.send` are numeric: a name would mean a look-up in the middle of gossip. `bind`, `connect`
and `resolve` take names. IPv6 sockets speak IPv6 only, so that a peer has one address, not two.
"""

from __future__ import annotations

import errno
import functools
import logging
import socket
from typing import Final

import trio

from swimring.identity import Address

from .accepting import SocketStreamListener
from .transport import Binding, Datagrams, Network
from .unix import UnixListener, bind_unix, dial_unix

logger = logging.getLogger(__name__)

BATCH: Final = 64
"""The most datagrams one `receive` returns."""

_LARGEST_DATAGRAM: Final = 65_535
_BACKLOG: Final = 1024
_RECEIVE_BUFFER: Final = 1 << 20
_TRIES_FOR_A_COMMON_PORT: Final = 32

# ICMP's answers to earlier datagrams; some platforms report them on receive. They concern one peer, not the socket.
_AN_EARLIER_DATAGRAM_FAILED: Final = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
)

_SocketAddress = tuple[str, int] | tuple[str, int, int, int]


@functools.lru_cache(maxsize=4096)
def _numeric(address: Address) -> tuple[socket.AddressFamily, _SocketAddress]:
    """Family and socket address of a literal, without any look-up; `OSError` if the host is a name."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    except (socket.gaierror, UnicodeError):
        raise OSError(errno.EINVAL, f"{address} is not a numeric address: resolve it first") from None
    family, _, _, _, where = found[0]
    return family, (str(where[0]), int(where[1]), *where[2:])


def _address(where: _SocketAddress) -> Address:
    return Address(where[0], where[1])


class SocketDatagrams(Datagrams):
    """A UDP socket. A full send buffer makes `send` wait; a full receive buffer loses what arrives."""

    def __init__(self, bound: socket.socket) -> None:
        """Own ``bound``, which is non-blocking."""
        self._socket = bound
        self._family = bound.family

    def __repr__(self) -> str:
        return f"<SocketDatagrams {'closed' if self._closed else _address(self._socket.getsockname())}>"

    @property
    def _closed(self) -> bool:
        return self._socket.fileno() < 0

    async def send(self, payload: bytes, to: Address) -> None:
        """Send at once if the kernel takes it, which is nearly always; otherwise wait until it does."""
        await trio.lowlevel.checkpoint()
        family, where = _numeric(to)
        if family != self._family:
            raise OSError(errno.EAFNOSUPPORT, f"this socket cannot reach {to}")
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this socket was closed")
            try:
                self._socket.sendto(payload, where)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)
            else:
                return

    async def receive(self) -> list[tuple[bytes, Address]]:
        """Wait until something is there, then take all of it, up to 64."""
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this socket was closed")
            await trio.lowlevel.wait_readable(self._socket)
            if batch := self._drain():
                return batch

    def _drain(self) -> list[tuple[bytes, Address]]:
        batch: list[tuple[bytes, Address]] = []
        for _ in range(BATCH):
            try:
                payload, where = self._socket.recvfrom(_LARGEST_DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in _AN_EARLIER_DATAGRAM_FAILED:
                    raise
            else:
                batch.append((payload, _address(where)))
        return batch

    def close(self) -> None:
        """Close; a pending `receive` or `send` raises `trio.ClosedResourceError`."""
        if not self._closed:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class SocketNetwork(Network):
    """UDP and TCP of this machine."""

    async def bind(self, address: Address) -> Binding:
        """Bind both protocols to one port of ``address``; a name is bound by the first address it stands for."""
        address = (await self.resolve(address))[0]
        tries = 1 if address.port else _TRIES_FOR_A_COMMON_PORT
        for left in reversed(range(tries)):
            try:
                return await _bind_both(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not left:
                    raise OSError(error.errno, f"cannot bind {address}: {error.strerror}") from error
        raise AssertionError("the last try returns or raises")

    async def connect(self, address: Address) -> trio.SocketStream:
        """Dial; of a name, one address after the other until one answers."""
        if address.path is not None:
            return await dial_unix(address.path)
        *others, last = await self.resolve(address)
        for one in others:
            try:
                return await self._dial(one)
            except OSError as error:
                logger.debug("%s is not at %s: %s", address, one, error)
        return await self._dial(last)

    async def bind_unix(self, path: str) -> UnixListener:
        """Listen at ``path``, where a socket that nobody listens at any more is replaced."""
        return await bind_unix(path)

    async def join_group(self, group: Address, *, interface: str) -> SocketDatagrams:
        """Join an IPv4 group; datagrams to it do not pass a router."""
        await trio.lowlevel.checkpoint()
        joined = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            joined.setblocking(False)  # noqa: FBT003 - the standard library's signature
            joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # every node of this machine listens to it
            joined.bind((group.host, group.port))
            by = socket.inet_aton(interface if "." in interface else "0.0.0.0")  # noqa: S104 - the default interface
            joined.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group.host) + by)
            joined.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, by)
            joined.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            joined.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        except BaseException:
            joined.close()
            raise
        return SocketDatagrams(joined)

    async def _dial(self, address: Address) -> trio.SocketStream:
        family, where = _numeric(address)
        dialling = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            await dialling.connect(where)
            if dialling.getsockname() == dialling.getpeername():
                # A free port of the ephemeral range, chosen as our own end: TCP's simultaneous open with oneself.
                raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {address}")
        except BaseException:
            dialling.close()
            raise
        return trio.SocketStream(dialling)

    async def resolve(self, address: Address) -> list[Address]:
        """Ask the system's resolver, in a thread; its order is kept."""
        await trio.lowlevel.checkpoint()
        try:
            return [_address(_numeric(address)[1])]
        except OSError:
            pass
        try:
            found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise OSError(errno.EINVAL, f"{address.host!r} is not a host name: {error}") from error
        return list(dict.fromkeys(Address(str(where[0]), int(where[1])) for *_, where in found))


async def _bind_both(address: Address) -> Binding:
    """Bind TCP, then UDP to the port that gave; close what was bound if the other fails."""
    family, where = _numeric(address)
    listening = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        # For TCP a restart must not wait for TIME_WAIT. For UDP the same option would let two processes share the port.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _ipv6_only(listening, family)
        await listening.bind(where)
        listening.listen(_BACKLOG)
        bound = _address(listening.getsockname())
        datagrams = _bind_datagrams(bound)
    except BaseException:
        listening.close()
        raise
    return Binding(address=bound, datagrams=datagrams, listener=SocketStreamListener(listening, remote=_address))


def _bind_datagrams(address: Address) -> SocketDatagrams:
    family, where = _numeric(address)
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
        _ipv6_only(bound, family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)  # the kernel caps it to what is allowed
        bound.bind(where)
    except BaseException:
        bound.close()
        raise
    return SocketDatagrams(bound)


def _ipv6_only(opened: socket.socket | trio.socket.SocketType, family: socket.AddressFamily) -> None:
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
