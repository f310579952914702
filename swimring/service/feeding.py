"""Where the bytes of an outgoing stream come from."""

from __future__ import annotations

from collections.abc import AsyncIterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from swimring.errors import LocalProtocolError

from .items import Objects

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .request import ByteStream

Source: TypeAlias = bytes | bytearray | memoryview | PathLike[str] | AsyncIterable[bytes | bytearray] | Objects[Any]

_FILE_CHUNK: Final = 256 * 1024


def readable_again(streams: Mapping[str, object]) -> bool:
    """Whether all ``streams`` can be sent once more: no source is an iterator that was read."""
    return all(isinstance(source, (bytes, bytearray, memoryview, PathLike)) for source in streams.values())


def checked_sources(streams: Mapping[str, object]) -> dict[str, Source]:
    """The streams that have a source (see `swimring.service.StreamSource`), with it.

    Raises:
        LocalProtocolError: one can be read in no way we know.
    """
    sources: dict[str, Source] = {}
    for name, source in streams.items():
        if source is None:
            continue
        if not isinstance(source, (bytes, bytearray, memoryview, PathLike, AsyncIterable, Objects)):
            raise LocalProtocolError(f"stream {name!r}: cannot read from {type(source).__name__}")
        sources[name] = source
    return sources


class OpenFile(Protocol):
    """Opens a file without blocking: `trio.open_file`, `anyio.open_file`."""

    def __call__(self, file: PathLike[str], mode: Literal["rb"], /) -> Awaitable[Any]:
        """The file, to be used in an async with block."""
        ...


async def feed(stream: ByteStream, source: Source, open_file: OpenFile) -> None:
    """Send all of ``source``, then the end. An async iterator that can be closed is closed afterwards."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        await stream.send(source)
    elif isinstance(source, PathLike):
        async with await open_file(source, "rb") as file:
            while piece := await file.read(_FILE_CHUNK):
                await stream.send(piece)
    elif isinstance(source, Objects):
        await _feed_objects(stream, source)
    else:
        await _send_each(source, stream.send)
    await stream.send_eof()


async def _feed_objects(stream: ByteStream, objects: Objects[Any]) -> None:
    send = stream.objects(objects.kind).send
    if isinstance(objects.source, AsyncIterable):
        await _send_each(objects.source, send)
    else:
        for item in objects.source:
            await send(item)


async def _send_each(source: AsyncIterable[Any], send: Callable[[Any], Awaitable[None]]) -> None:
    try:
        async for piece in source:
            await send(piece)
    finally:
        await close_source(source)


async def close_source(source: object) -> None:
    """Close what can be closed of a source that was read, or will not be."""
    inner = source.source if isinstance(source, Objects) else source
    aclose = getattr(inner, "aclose", None)
    if aclose is not None:
        await aclose()


def failure_in(error: BaseException, cancelled: type[BaseException]) -> tuple[Exception | None, BaseException | None]:
    """Take apart what reading a source raised: its failure, which is the caller's, and what has to go on.

    A source whose children fail while it is ``cancelled`` raises both at once, as a group.
    """
    if isinstance(error, Exception):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        going_on, failure = error.split(cancelled)
        if isinstance(failure, Exception):
            return failure, None if going_on is None else _first_of(going_on)
    return None, error


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the exceptions in ``group``, all of which say the same: a scope of asyncio knows its own only bare."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
