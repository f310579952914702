"""Unix sockets: connections inside one machine, which the permissions of a file guard."""

from __future__ import annotations

import errno
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from swimring.identity import Address

from .accepting import SocketStreamListener

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BACKLOG: Final = 1024
_ONLY_THIS_USER: Final = 0o600


class UnixListener(SocketStreamListener):
    """Listens at a path, which disappears when it closes."""

    def __init__(self, listening: trio.socket.SocketType, path: Path, *, remote: Callable[[Any], Address]) -> None:
        """Own ``listening`` and the file at ``path``."""
        super().__init__(listening, remote=remote)
        self._path = path
        self._file = path.stat().st_ino

    def close(self) -> None:
        """Stop listening, and remove the file if it is still ours."""
        super().close()
        with suppress(OSError):
            if self._path.stat().st_ino == self._file:
                self._path.unlink()


async def bind_unix(path: str) -> UnixListener:
    """Listen at ``path``, for this user only; a socket that was left there by a process that was killed is replaced.

    Raises:
        OSError: somebody listens there, something else than a socket is there, or it cannot be made.
    """
    await _check_free(path)
    place, listening = Path(path), trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            place.unlink()  # noqa: ASYNC240 - a moment, when a node starts
        await listening.bind(path)
        place.chmod(_ONLY_THIS_USER)  # noqa: ASYNC240 - the same; nobody can connect before the next line
        listening.listen(_BACKLOG)
        return UnixListener(listening, place, remote=lambda _where: Address.unix(path))
    except BaseException as error:
        listening.close()
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot bind unix:{path}: {error.strerror or error}") from error
        raise


async def dial_unix(path: str) -> trio.SocketStream:
    """Connect to whoever listens at ``path``.

    Raises:
        OSError: nobody does, or it is not allowed.
    """
    dialling = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await dialling.connect(path)
    except BaseException:
        dialling.close()
        raise
    return trio.SocketStream(dialling)


async def _check_free(path: str) -> None:
    try:
        found = Path(path).stat()  # noqa: ASYNC240 - a moment, when a node starts
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, f"cannot bind unix:{path}: there is something else than a socket")
    try:
        stream = await dial_unix(path)
    except ConnectionRefusedError:
        return  # left behind by a process that was killed
    await stream.aclose()
    raise OSError(errno.EADDRINUSE, f"cannot bind unix:{path}: somebody listens there")
