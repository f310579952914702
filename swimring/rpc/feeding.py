"""Where the bytes of an outgoing stream come from."""

from __future__ import annotations

from collections.abc import AsyncIterable
from os import PathLike
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from swimring.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .streams import PeerStream

Source: TypeAlias = bytes | bytearray | memoryview | PathLike[str] | AsyncIterable[bytes | bytearray]

_FILE_CHUNK: Final = 256 * 1024


def checked_sources(streams: Mapping[str, object]) -> dict[str, Source]:
    """The streams that have a source (see `swimring.service.StreamSource`), with it.

    Raises:
        LocalProtocolError: one can be read in no way we know.
    """
    sources: dict[str, Source] = {}
    for name, source in streams.items():
        if source is None:
            continue
        if not isinstance(source, (bytes, bytearray, memoryview, PathLike, AsyncIterable)):
            raise LocalProtocolError(f"stream {name!r}: cannot read from {type(source).__name__}")
        sources[name] = source
    return sources


async def feed(stream: PeerStream, source: Source) -> None:
    """Send all of ``source``, then the end. An async iterator that can be closed is closed afterwards."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        await stream.send(source)
    elif isinstance(source, PathLike):
        async with await trio.open_file(source, "rb") as file:
            while piece := await file.read(_FILE_CHUNK):
                await stream.send(piece)
    else:
        try:
            async for chunk in source:
                await stream.send(chunk)
        finally:
            aclose = getattr(source, "aclose", None)
            if aclose is not None:
                await aclose()
    await stream.send_eof()
