"""Where the bytes of an outgoing stream come from."""

from __future__ import annotations

from collections.abc import AsyncIterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from swimring.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .streams import PeerStream

StreamSource: TypeAlias = Path | bytes | AsyncIterable[bytes] | None
"""A file, bytes, anything that yields bytes (a `trio.abc.ReceiveStream` does); None leaves both directions to the
caller."""

_FILE_CHUNK: Final = 256 * 1024


def check_sources(streams: Mapping[str, StreamSource]) -> None:
    """Refuse sources that cannot be read.

    Raises:
        LocalProtocolError: one is neither a path, nor bytes, nor yields bytes.
    """
    for name, source in streams.items():
        if not isinstance(source, (Path, bytes, AsyncIterable, type(None))):
            raise LocalProtocolError(f"stream {name!r}: cannot read from {type(source).__name__}")


async def feed(stream: PeerStream, source: Path | bytes | AsyncIterable[bytes]) -> None:
    """Send all of ``source``, then the end. An async iterator that can be closed is closed afterwards."""
    if isinstance(source, bytes):
        await stream.send(source)
    elif isinstance(source, Path):
        async with await trio.open_file(source, "rb") as file:
            while chunk := await file.read(_FILE_CHUNK):
                await stream.send(chunk)
    else:
        try:
            async for chunk in source:
                await stream.send(chunk)
        finally:
            aclose = getattr(source, "aclose", None)
            if aclose is not None:
                await aclose()
    await stream.send_eof()
