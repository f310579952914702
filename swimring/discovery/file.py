"""Seeds in a file: one address in each line, read again each time, so that whoever writes it need tell nobody."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import ConfigError
from swimring.identity import Address

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_MOST_BYTES: Final = 1 << 20


class FileSeeds:
    """The addresses in a file. What follows a ``#`` is for people; a line that is no address is logged and left out."""

    def __init__(self, path: Path) -> None:
        """Read ``path`` at each look, its first MiB; it need not exist yet."""
        self._path = path
        self._complained: set[str] = set()

    def __repr__(self) -> str:
        return f"<FileSeeds {self._path}>"

    async def addresses(self) -> tuple[Address, ...]:
        """The addresses that are in the file now.

        Raises:
            OSError: it cannot be read.
        """
        text = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        read = [self._address(line) for line in lines if line]
        return tuple(dict.fromkeys(address for address in read if address is not None))

    def _read(self) -> str:
        with self._path.open("rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace")

    def _address(self, line: str) -> Address | None:
        try:
            return Address.parse(line)
        except ConfigError as error:
            if line not in self._complained:
                self._complained = {line} if len(self._complained) > 100 else self._complained | {line}
                logger.warning("%s: %s", self._path, error)
            return None
