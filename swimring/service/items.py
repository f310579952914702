"""Objects on a byte stream, checked against an annotation on both sides. Needs no event loop, only a `ByteStream`.

A cancelled `send` never leaves half an item behind: what has begun to leave is completed by whatever is sent next.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import AsyncIterable, Iterable  # noqa: TC003 - annotations of a dataclass can be asked for
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Never, NoReturn, TypeVar

from swimring.codec import Checker, ShapeError, checker, decode
from swimring.errors import LocalProtocolError, RemoteProtocolError
from swimring.mux import ItemReader, ResetCode, pack_item

if TYPE_CHECKING:
    from types import TracebackType

    from swimring.codec import JsonSchema, Schemas

    from .request import ByteStream

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKinds:
    """What goes over a stream of items, and which errors say that something else was there."""

    receives: Checker
    sends: Checker
    name: str = "stream"
    """What carries the items, for errors."""
    misfit_in: type[Exception] = RemoteProtocolError
    misfit_out: type[Exception] = LocalProtocolError

    def load(self, value: object) -> Any:
        """The item that arrived as ``value``; raises ``misfit_in``."""
        try:
            return self.receives.load(value)
        except ShapeError as error:
            raise self.misfit_in(f"{self.name}: an item that was received: {error}") from error

    def dump(self, item: object) -> Any:
        """The wire value of ``item``; raises ``misfit_out``."""
        try:
            return self.sends.dump(item)
        except ShapeError as error:
            raise self.misfit_out(f"{self.name}: an item to be sent: {error}") from error


def item_checker(annotation: object, *, setting: str) -> Checker:
    """The checker of items; of `Never`, for a direction that nobody uses, one that takes nothing.

    Raises:
        ConfigError: a part of the annotation is not supported.
    """
    if annotation in (Never, NoReturn):
        return _NOTHING
    return checker(annotation, setting=setting)


def item_schema(annotation: object, schemas: Schemas) -> JsonSchema:
    """The JSON Schema of items; of `Never` one that nothing satisfies."""
    return {"not": {}} if annotation in (Never, NoReturn) else schemas.of(annotation)


def _refuse(value: object) -> NoReturn:
    raise ShapeError(type(value).__name__, "nothing")


_NOTHING: Final = Checker(allowed="nothing", load=_refuse, dump=_refuse, kinds=frozenset())


@functools.lru_cache(maxsize=256)
def kinds_of(annotation: object) -> ItemKinds:
    """What a stream of ``annotation`` in both directions carries.

    Raises:
        ConfigError: a part of the annotation is not supported.
    """
    compiled = item_checker(annotation, setting="objects")
    return ItemKinds(receives=compiled, sends=compiled, name="stream of objects")


class ItemStream(Generic[In, Out]):
    """Objects in both directions. One task may send while another receives; iterating ends where the other side ended.

    Each item that is taken is a checkpoint, also those that have arrived already. The writer waits as soon as the
    window of the stream is full of what was not read.
    """

    def __init__(self, stream: ByteStream, kinds: ItemKinds) -> None:
        """Read and write ``stream``, which nobody else does from now on."""
        self._stream: Final = stream
        self._kinds: Final = kinds
        self._reader: Final = ItemReader(stream.item_limit)
        self._ready: deque[bytes] = deque()
        self._torn = b""
        self._sending = False
        self._refused = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._stream!r}>"

    async def send(self, item: Out, /) -> None:
        """Send one object, waiting for credit. Cancelled, it was sent completely, will be, or not at all.

        Raises:
            LocalProtocolError: it does not fit the annotation or is too large; nothing was sent.
            StreamReset: the other side gave the stream up.
            StreamLost: the connection broke.
        """
        await self._push(pack_item(self._kinds.dump(item), limit=self._stream.peer_item_limit))

    async def send_eof(self) -> None:
        """Send no more; receiving goes on."""
        if self._torn:
            await self._push(b"")
        if not self._refused:
            await self._stream.send_eof()

    def __aiter__(self) -> ItemStream[In, Out]:
        return self

    async def __anext__(self) -> In:
        if self._ready:
            await self._stream.checkpoint()
        while not self._ready:
            chunk = await self._receive()
            if not chunk:
                await self._at_end()
            try:
                self._ready.extend(self._reader.feed(chunk))
            except RemoteProtocolError as error:
                self._refuse(error)
        try:
            value = decode(self._ready.popleft())
        except RemoteProtocolError as error:
            self._refuse(error)
        item: In = self._kinds.load(value)
        return item

    async def __aenter__(self) -> ItemStream[In, Out]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        if error is None and self._torn:
            self._stream.reset(ResetCode.CANCELLED, "left within an item")
        return await self._stream.__aexit__(kind, error, traceback)

    # -------------------------------------------------------------------- what a subclass may do around the bytes

    async def _receive(self) -> bytes:
        return await self._stream.receive()

    async def _at_end(self) -> NoReturn:
        self._reader.finish()
        raise StopAsyncIteration

    async def _send(self, data: bytes) -> None:
        await self._stream.send(data)

    # -------------------------------------------------------------------------------------------------- inside

    def _refuse(self, error: RemoteProtocolError) -> NoReturn:
        self._refused = True
        self._ready.clear()
        self._stream.reset(ResetCode.FAILED, str(error))
        raise error

    async def _push(self, packed: bytes) -> None:
        if self._sending:
            raise LocalProtocolError("another task is sending on this stream")
        torn, before = self._torn, self._stream.sent
        data = torn + packed
        self._sending = True
        try:
            await self._send(data)
        except BaseException:
            gone = self._stream.sent - before
            self._torn = data[gone:] if gone > len(torn) else torn[gone:]
            raise
        finally:
            self._sending = False
        self._torn = b""


@dataclass(frozen=True, slots=True)
class Objects(Generic[T]):
    """What feeds a stream of objects: ``with_streams(events=Objects(source, Event))``."""

    source: AsyncIterable[T] | Iterable[T]
    """The objects, in order."""
    kind: Any = Any
    """Their annotation, against which each is checked before it is sent."""
