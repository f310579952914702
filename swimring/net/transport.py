"""What swimring asks of a network: datagrams and streams on one port, and a way to dial.

Real sockets (`sockets.py`) and the simulated network of `swimring.testing` implement these interfaces and pass one
contract suite. Failures are `OSError` for datagrams, binding and dialling (a refusal is `ConnectionRefusedError`), and
what `trio.abc.Stream` raises for streams.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import trio

    from swimring.identity import Address


class Datagrams(ABC):
    """A bound datagram socket. One task receives; any task may send."""

    @abstractmethod
    async def send(self, payload: bytes, to: Address) -> None:
        """Send one datagram.

        Raises:
            OSError: it could not be handed to the network (interface down, too large, blocked).
        """

    @abstractmethod
    async def receive(self) -> list[tuple[bytes, Address]]:
        """Wait for datagrams; return all that are ready, at least one and at most 64, with their senders."""

    @abstractmethod
    def close(self) -> None:
        """Stop; a pending `receive` raises `trio.ClosedResourceError`."""


class StreamListener(ABC):
    """A bound stream listener."""

    @abstractmethod
    async def accept(self) -> tuple[trio.abc.Stream, Address]:
        """Wait for a connection; return its stream (no-delay set) and the address it comes from.

        Transient failures of the operating system (too many files, aborted connections) are waited out inside.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop listening; a pending `accept` raises `trio.ClosedResourceError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Datagrams and streams bound to the same host and port."""

    address: Address
    datagrams: Datagrams
    listener: StreamListener

    def close(self) -> None:
        """Close both; nothing is waited for."""
        self.datagrams.close()
        self.listener.close()


@runtime_checkable
class SendsNow(Protocol):
    """A stream that can send without waiting, as a socket can: whoever has its sending side saves a turn by it."""

    def send_now(self, data: bytes, /) -> int:
        """Send what there is room for; return how many bytes that were, none also if the stream is closed or broken."""
        ...


class Network(ABC):
    """The one seam between swimring and the world's networks."""

    private: bool = False
    """Whether nobody can listen in, because it exists inside of this process only."""

    @abstractmethod
    async def bind(self, address: Address) -> Binding:
        """Bind datagrams and a listener to one address; port 0 picks a port that is free for both.

        Raises:
            OSError: either of them is taken or not allowed; nothing stays bound.
        """

    @abstractmethod
    async def connect(self, address: Address) -> trio.abc.Stream:
        """Dial; the stream has no-delay set. A host name is looked up each time, and its addresses tried in order.

        An address that is a Unix socket (`Address.path`) is dialled as one, where the network has them.

        Raises:
            ConnectionRefusedError: something answered and said no.
            OSError: any other failure.
        """

    async def bind_unix(self, path: str) -> StreamListener:
        """Listen at the Unix socket ``path``, for this user only. A network that has none need not implement it.

        Raises:
            OSError: somebody listens there already, something else is there, or this cannot be done here.
        """
        raise OSError(errno.EOPNOTSUPP, f"no Unix sockets on this network: {path}")

    async def join_group(self, group: Address, *, interface: str) -> Datagrams:
        """Datagrams of the multicast group ``group``: what is sent to it by anybody on the network, ourselves included.

        They go over the interface that has the numeric address ``interface`` (a wildcard: the one of the default route)
        and no further than this network. A network that has no multicast need not implement it.

        Raises:
            OSError: this cannot be done here.
        """
        raise OSError(errno.EOPNOTSUPP, f"no multicast on this network: {group} by {interface}")

    @abstractmethod
    async def resolve(self, address: Address) -> list[Address]:
        """The numeric addresses a host name stands for; a literal stands for itself.

        Raises:
            OSError: the name is not known.
        """
