"""The files of a node: a directory, written so that a crash leaves no half of anything that was promised whole.

`DirectoryStore` is the real one; `swimring.testing` has one whose disk is simulated, and both pass one contract suite.
The interface is `swimring.service.Store`, because handlers use it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

import trio

from swimring.errors import ConfigError, StoreError, StoreFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_CONTENT: Final = 64 * 1024 * 1024
"""Bytes that a file may hold."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OURS_ALONE: Final = 0o600


def check_file_name(name: str) -> str:
    """``name``, if a file of a store may be called that.

    Raises:
        ConfigError: it may not.
    """
    if not _NAME.fullmatch(name):
        allowed = "1 to 100 letters, digits, dots, dashes and underscores, a letter or digit first"
        raise ConfigError("name of a file", name, allowed)
    return name


def check_content(name: str, size: int) -> None:
    """Refuse more than a file may hold.

    Raises:
        StoreFull: it is more.
    """
    if size > MAX_CONTENT:
        raise StoreFull(name, f"{size} bytes, of at most {MAX_CONTENT}")


class DirectoryStore:
    """The files of one directory, which is made when it is first written to; for one process at a time.

    Each operation is a thread of its own, one at a time; the others wait in order. See `swimring.service.Store`.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is touched yet."""
        self.path = path
        self._turn = trio.Lock()

    def __repr__(self) -> str:
        return f"<DirectoryStore {self.path}>"

    async def read(self, name: str, /) -> bytes | None:
        """See `swimring.service.Store.read`."""
        return await self._run(name, self._read, self.path / check_file_name(name))

    async def write(self, name: str, content: bytes, /) -> None:
        """See `swimring.service.Store.write`."""
        check_content(check_file_name(name), len(content))
        await self._run(name, self._write, self.path / name, content)

    async def append(self, name: str, content: bytes, /) -> None:
        """See `swimring.service.Store.append`."""
        await self._run(name, self._append, self.path / check_file_name(name), content)

    async def sync(self, name: str, /) -> None:
        """See `swimring.service.Store.sync`."""
        await self._run(name, self._sync, self.path / check_file_name(name))

    async def delete(self, name: str, /) -> None:
        """See `swimring.service.Store.delete`."""
        await self._run(name, self._delete, self.path / check_file_name(name))

    async def names(self) -> tuple[str, ...]:
        """See `swimring.service.Store.names`."""
        return await self._run(str(self.path), self._names)

    async def _run(self, name: str, operation: Callable[[*Ts], T], *args: *Ts) -> T:
        async with self._turn:
            try:
                return await trio.to_thread.run_sync(operation, *args)
            except OSError as error:
                kind = StoreFull if error.errno in _NO_ROOM else StoreError
                raise kind(name, os.strerror(error.errno or 0)) from error

    # --------------------------------------------------------------------------------------------- in a thread

    def _read(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_CONTENT + 1)
        except FileNotFoundError:
            return None
        check_content(path.name, len(content))
        return content

    def _write(self, path: Path, content: bytes) -> None:
        self._make_directory()
        beside = path.with_name(f".{path.name}.new")
        try:
            with _opened(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
                _write_all(file, content)
                os.fsync(file)
            beside.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
        _sync_directory(self.path)

    def _append(self, path: Path, content: bytes) -> None:
        self._make_directory()
        with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file:
            size = os.fstat(file).st_size
            check_content(path.name, size + len(content))
            try:
                _write_all(file, content)
            except OSError:
                os.ftruncate(file, size)
                raise

    def _sync(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            with _opened(path, os.O_RDONLY) as file:
                os.fsync(file)
            _sync_directory(self.path)

    def _delete(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            _sync_directory(self.path)

    def _names(self) -> tuple[str, ...]:
        if not self.path.exists():
            return ()
        return tuple(sorted(found.name for found in self.path.iterdir() if _NAME.fullmatch(found.name)))

    def _make_directory(self) -> None:
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_directory(self.path.parent)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags | os.O_CLOEXEC, _OURS_ALONE)
    try:
        yield file
    finally:
        os.close(file)


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_directory(path: Path) -> None:
    with _opened(path, os.O_RDONLY) as directory:
        os.fsync(directory)
