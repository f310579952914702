"""A call with streams as its caller holds it: what `open` of a node, or of a client, gives. Needs no event loop."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Protocol, TypeVar

from swimring.errors import CallError, HandlerFailed
from swimring.mux import ITEMS

from .endpoint import Answering
from .items import In, ItemKinds, ItemStream, Out
from .raising import raise_as_declared
from .streaming import ChannelEndpoint, StreamingEndpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .endpoint import Registered
    from .raising import ErrorTypes
    from .request import ByteStream

R = TypeVar("R")
T = TypeVar("T")


class OpenedCall(Protocol):
    """A call under way, without types: what a driver of the protocol offers."""

    @property
    def streams(self) -> Mapping[str, ByteStream]:
        """All streams that were announced with it, by name."""
        ...

    @property
    def offered(self) -> Mapping[str, ByteStream]:
        """The streams that came with the answer, by name."""
        ...

    @property
    def outcome(self) -> str:
        """See `OpenCall.outcome`."""
        ...

    async def result(self) -> Any:
        """Wait for the wire value that the handler answers with; as often as you like.

        Raises:
            CallError: the handler failed, or the connection did.
        """
        ...


class OpenCall:
    """What all calls that are held open have in common."""

    def __init__(self, call: OpenedCall) -> None:
        """Made by `open`."""
        self._call: Final = call
        self.streams: Final[Mapping[str, ByteStream]] = {
            name: stream for name, stream in call.streams.items() if name != ITEMS
        }
        """The named streams that the call was made with."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.outcome}>"

    @property
    def outcome(self) -> str:
        """What became of it: ``open``, ``ok``, the class of the error that it ended with, ``cancelled``, ``orphaned``.

        Cancelled: it was given up here and has ended there. Orphaned: it was given up, and within ``cancel_grace`` the
        other side did not say that it has ended; it will with its deadline at the latest, or with the connection.
        """
        return self._call.outcome


class TypedCall(OpenCall, Generic[R]):
    """A call that ends with one value, with its streams by name."""

    def __init__(self, endpoint: Answering[Any, R], call: OpenedCall) -> None:
        """Made by `open`."""
        super().__init__(call)
        self._endpoint: Final = endpoint

    async def result(self) -> R:
        """Wait for what the handler returns.

        Raises:
            CallError: it did not return.
        """
        return self._endpoint.load_result(await self._call.result(), self._call.offered)


class _Items(ItemStream[In, Out]):
    """The stream of items of a call: what ends it is explained by the answer, which is waited for.

    If the handler may end its direction and go on (``ends_alone``), an end is one without waiting for the answer.
    """

    def __init__(self, call: OpenedCall, kinds: ItemKinds, *, ends_alone: bool) -> None:
        super().__init__(call.streams[ITEMS], kinds)
        self._call = call
        self._ends_alone = ends_alone

    async def _receive(self) -> bytes:
        try:
            return await super()._receive()
        except CallError:
            await self._call.result()
            raise

    async def _at_end(self) -> NoReturn:
        if not self._ends_alone or self._call.outcome != "open":
            await self._call.result()
        await super()._at_end()

    async def _send(self, data: bytes) -> None:
        try:
            await super()._send(data)
        except CallError:
            await self._call.result()
            raise


class ItemsCall(OpenCall, Generic[T]):
    """The items that a handler yields; iterating raises what the handler raised, after everything it yielded before."""

    def __init__(self, endpoint: StreamingEndpoint[Any, T], call: OpenedCall) -> None:
        """Made by `open`."""
        super().__init__(call)
        self._items: Final[_Items[T, Any]] = _Items(call, endpoint.item_kinds, ends_alone=False)

    def __aiter__(self) -> ItemsCall[T]:
        return self

    async def __anext__(self) -> T:
        """The next item, checked against the annotation.

        Raises:
            CallError: the handler failed, or the connection did.
            RemoteProtocolError: the item does not fit.
        """
        return await anext(self._items)


class ChannelCall(TypedCall[R], Generic[In, Out, R]):
    """A call with a channel: ``In`` is what the handler receives and this side sends, ``Out`` the other way round.

    One task may send while another receives.
    """

    def __init__(self, endpoint: ChannelEndpoint[Any, In, Out, R], call: OpenedCall) -> None:
        """Made by `open`."""
        super().__init__(endpoint, call)
        self._items: Final[_Items[Out, In]] = _Items(call, endpoint.item_kinds, ends_alone=True)
        self._ended = False

    async def send(self, item: In, /) -> None:
        """Send one item, waiting while the handler does not read. Cancelled, it was sent, will be, or not at all.

        Raises:
            InvalidRequest: it does not fit the annotation; nothing was sent.
            CallError: the handler failed, or returned without reading it (`StreamReset`).
        """
        await self._items.send(item)

    async def send_eof(self) -> None:
        """Send no more: the handler's iteration ends. Receiving goes on.

        Raises:
            CallError: the handler failed, or returned before.
        """
        self._ended = True
        await self._items.send_eof()

    def __aiter__(self) -> ChannelCall[In, Out, R]:
        return self

    async def __anext__(self) -> Out:
        """The next item of the handler, checked against the annotation; the end when it has returned.

        Raises:
            CallError: the handler failed, or the connection did.
            RemoteProtocolError: the item does not fit.
        """
        return await anext(self._items)

    async def result(self) -> R:
        """Wait for what the handler returns. To ask says that no more is sent, as `send_eof` does.

        Raises:
            CallError: it did not return.
        """
        if not self._ended:
            self._ended = True
            with suppress(CallError):  # it has ended already: the answer says how
                await self._items.send_eof()
        return await super().result()


class _AsDeclared:
    """A call whose errors are raised as themselves where its endpoint declares them."""

    def __init__(self, call: OpenedCall, errors: ErrorTypes) -> None:
        self.streams: Final = call.streams
        self._call = call
        self._errors = errors

    @property
    def offered(self) -> Mapping[str, ByteStream]:
        return self._call.offered

    @property
    def outcome(self) -> str:
        return self._call.outcome

    async def result(self) -> Any:
        try:
            return await self._call.result()
        except HandlerFailed as failed:
            raise_as_declared(failed, self._errors)


def opened(endpoint: Registered[...], untyped: OpenedCall) -> Any:
    """What the caller of ``endpoint`` holds."""
    call = _AsDeclared(untyped, endpoint.errors)
    if isinstance(endpoint, StreamingEndpoint):
        return ItemsCall(endpoint, call)
    if isinstance(endpoint, ChannelEndpoint):
        return ChannelCall(endpoint, call)
    assert isinstance(endpoint, Answering)
    return TypedCall(endpoint, call)
