"""Accepting connections from a socket, whatever it listens at, and however long the machine is out of descriptors."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Any, Final

import trio

from .transport import StreamListener

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.identity import Address

logger = logging.getLogger(__name__)

_FIRST_ACCEPT_PAUSE: Final = 0.01
_LONGEST_ACCEPT_PAUSE: Final = 1.0

# No descriptor or no memory just now. The connection stays in the backlog, so that trying again at once would spin.
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

# accept(2): errors already pending on the new connection; "treat them like EAGAIN by retrying".
_THAT_CONNECTION_ONLY: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EPERM,  # a firewall said no
    }
)


class SocketStreamListener(StreamListener):
    """A listening socket with the backlog it was given; beyond it the kernel makes callers try again."""

    def __init__(self, listening: trio.socket.SocketType, *, remote: Callable[[Any], Address]) -> None:
        """Own ``listening``; ``remote`` reads the address that a connection comes from."""
        self._socket = listening
        self._remote = remote
        self._closing = trio.Event()

    def __repr__(self) -> str:
        return (
            f"<SocketStreamListener {'closed' if self._closing.is_set() else self._remote(self._socket.getsockname())}>"
        )

    async def accept(self) -> tuple[trio.SocketStream, Address]:
        """Wait for a connection, however long the machine is out of descriptors."""
        pause = _FIRST_ACCEPT_PAUSE
        while True:
            if self._closing.is_set():
                raise trio.ClosedResourceError("this listener was closed")
            try:
                accepted, where = await self._socket.accept()
            except OSError as error:
                if error.errno in _THAT_CONNECTION_ONLY:
                    continue
                if error.errno not in _EXHAUSTED:
                    raise
                logger.warning("cannot accept a connection, next try in %.2f s: %s", pause, error)
                with trio.move_on_after(pause):
                    await self._closing.wait()
                pause = min(pause * 2, _LONGEST_ACCEPT_PAUSE)
            else:
                return trio.SocketStream(accepted), self._remote(where)  # SocketStream sets no-delay

    def close(self) -> None:
        """Stop listening; connections that were not accepted are reset."""
        self._closing.set()
        self._socket.close()
