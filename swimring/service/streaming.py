"""Handlers that answer with many items: async generators, and functions with a channel."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Never,
    ParamSpec,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
)

from swimring.errors import ConfigError, InvalidRequest
from swimring.mux import ITEMS, RESERVED_STREAM

from .endpoint import Answering, Endpoint, Registered
from .items import In, ItemKinds, ItemStream, Out, item_checker, item_schema
from .parameters import first_annotation
from .request import Channel, Request

if TYPE_CHECKING:
    from swimring.codec import JsonSchema, Schemas

    from .request import ByteStream

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

StreamingHandler: TypeAlias = Callable[Concatenate[Request, P], AsyncIterator[T]]
ChannelHandler: TypeAlias = Callable[Concatenate[Channel[In, Out], P], Coroutine[Any, Any, R]]

_ITERATED: Final = (AsyncIterator, AsyncIterable, AsyncGenerator)


class StreamingEndpoint(Registered[P], Generic[P, T]):
    """A handler that yields: its items travel to the caller one by one, and it waits while nobody reads them."""

    __wrapped__: StreamingHandler[P, T]

    has_items = True
    way_to_call = "it yields items: open it, and iterate over what that gives"

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        """As `Registered`."""
        super().__init__(function, **settings)
        setting, returns = self._parameters.setting, self._parameters.returns
        item = Any
        if returns is not Any:
            if get_origin(returns) not in _ITERATED or not get_args(returns):
                raise ConfigError(
                    setting, returns, "an async generator is annotated as AsyncIterator[...] of its items"
                )
            item = get_args(returns)[0]
        self._item: Final = item
        made = item_checker(item, setting=f"{setting} -> item")
        nothing = item_checker(Never, setting=setting)
        self._sent: Final = ItemKinds(receives=nothing, sends=made, name=f"{self}")
        self.item_kinds: Final = ItemKinds(receives=made, sends=nothing, name=f"{self}")
        """What goes over the stream of items, as the caller sees it."""

    def describe_answer(self, schemas: Schemas) -> JsonSchema:
        """As `Registered.describe_answer`."""
        return {"items": item_schema(self._item, schemas)}

    def __call__(self, request: Request, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        """Run the handler here and now, as if it had not been decorated."""
        items: AsyncIterator[T] = self.function(request, *args, **kwargs)
        return items

    async def run(self, request: Request, arguments: Mapping[str, Any], items: ByteStream | None = None) -> Any:
        """As `Registered.run`; the result is None."""
        assert items is not None
        await drain(self.function(request, **arguments), ItemStream(items, self._sent).send)


class ChannelEndpoint(Answering[P, R_co], Generic[P, In, Out, R_co]):
    """A handler that exchanges items with its caller, in any order, and returns a result in the end."""

    __wrapped__: ChannelHandler[In, Out, P, R_co]

    has_items = True
    way_to_call = "it talks over a channel: open it, send and iterate"

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        """As `Registered`."""
        super().__init__(function, **settings)
        setting = self._parameters.setting
        received, sent = get_args(_channel_annotation(function, setting)) or (Any, Any)
        self._exchanged: Final = (received, sent)
        coming = item_checker(received, setting=f"{setting} -> items received")
        going = item_checker(sent, setting=f"{setting} -> items sent")
        self._here: Final = ItemKinds(receives=coming, sends=going, name=f"{self}")
        self.item_kinds: Final = ItemKinds(receives=going, sends=coming, name=f"{self}", misfit_out=InvalidRequest)
        """What goes over the channel, as the caller sees it."""

    def describe_answer(self, schemas: Schemas) -> JsonSchema:
        """As `Registered.describe_answer`."""
        received, sent = (item_schema(annotation, schemas) for annotation in self._exchanged)
        return {"receives": received, "items": sent, **super().describe_answer(schemas)}

    def __call__(self, channel: Channel[In, Out], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Run the handler here and now, as if it had not been decorated."""
        answer: Coroutine[Any, Any, R_co] = self.function(channel, *args, **kwargs)
        return answer

    async def run(self, request: Request, arguments: Mapping[str, Any], items: ByteStream | None = None) -> Any:
        """As `Registered.run`."""
        assert items is not None
        channel: Channel[In, Out] = Channel(items, self._here, request)
        return self.dump_result(await self.function(channel, **arguments))


async def drain(generator: AsyncGenerator[T, None], send: Callable[[T], Coroutine[Any, Any, None]]) -> None:
    """Send everything that ``generator`` yields, as if each of its ``yield`` were the ``send``.

    All of it runs in the task that calls this. What the send raises is raised at the yield: so a cancel scope or a
    nursery around a yield works, which it does not when somebody else iterates over a generator.
    """
    try:
        item = await anext(generator)
        while True:
            try:
                await send(item)
            except BaseException as error:  # noqa: BLE001 - the generator decides: it is its own yield that failed
                item = await generator.athrow(error)
            else:
                item = await anext(generator)
    except StopAsyncIteration:
        pass


def endpoint_of(function: Callable[..., Any], **settings: Any) -> Registered[...]:
    """The endpoint for ``function``, by what kind of handler it is.

    Raises:
        ConfigError: it cannot be a handler, or an annotation cannot be checked.
    """
    name = getattr(function, "__qualname__", repr(function))
    has_channel = _channel_annotation(function, f"handler {name}") is not None
    if inspect.isasyncgenfunction(function):
        if has_channel:
            allowed = "what yields takes a Request, what takes a Channel sends with it"
            raise ConfigError(f"handler {name}", "an async generator with a Channel", allowed)
        return StreamingEndpoint[..., Any](function, **settings)
    if has_channel:
        return ChannelEndpoint[..., Any, Any, Any](function, **settings)
    return Endpoint[..., Any](function, **settings)


def check_streams(endpoint: Registered[...], streams: Mapping[str, ByteStream]) -> None:
    """See that a call came with the streams that ``endpoint`` is called with.

    Raises:
        InvalidRequest: its stream of items is missing, or there is one that nobody would read.
    """
    if (ITEMS in streams) is not endpoint.has_items:
        raise InvalidRequest(f"{endpoint}: {endpoint.way_to_call}")
    unknown = [name for name in streams if name.startswith(RESERVED_STREAM) and name != ITEMS]
    if unknown:
        raise InvalidRequest(f"{endpoint}: a stream {unknown[0]!r}, which this node does not know")


def _channel_annotation(function: Callable[..., Any], setting: str) -> Any:
    annotation = first_annotation(function, naming="Channel", setting=setting)
    return annotation if (get_origin(annotation) or annotation) is Channel else None
