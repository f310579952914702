"""What a handler is given, and the interfaces behind it: the node seen from inside, byte streams.

The node and the streams are Protocols, because a module that defines a service needs no event loop to be imported.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, Self, TypeAlias, TypeVar, overload

from swimring.errors import InvalidRequest

from .items import In, ItemKinds, ItemStream, Objects, Out

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key
    from swimring.swim import Member

    from .answer import AnswerStream
    from .endpoint import Endpoint
    from .owning import KeyState
    from .surroundings import Machine, Store

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Caller(Protocol):
    """Whoever can ask the cluster: a node, or a client outside of it.

    All three route by the key; without a key anybody who offers the service answers. The surrounding cancel scope is
    the deadline.
    """

    async def call(self, endpoint: Endpoint[P, R], key: Key | None, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``endpoint`` where ``key`` lives, and return what it returns.

        Raises:
            CallError: it did not return; the class says why and ``maybe_executed`` whether it may have run.
            Exception: the handler raised it, of a built-in or declared type; its ``__cause__`` is a `HandlerFailed`.
        """
        ...

    async def request(self, message: Mapping[str, Any], /, *, idempotent: bool = False) -> Any:
        """Have any message answered; the reply is made of plain wire values.

        Raises:
            CallError: as for ``call``.
        """
        ...

    async def cast(self, message: Mapping[str, Any], /) -> None:
        """Send a message nobody answers; returns when it may be sent, promises nothing about its arrival."""
        ...


class NodeView(Caller, Protocol):
    """The node a handler runs on, as much of it as handlers need."""

    @property
    def name(self) -> str:
        """The node's name, unique in its cluster."""
        ...

    @property
    def host(self) -> Machine:
        """The clocks and the dice of the machine it runs on."""
        ...

    @property
    def store(self) -> Store:
        """Its files.

        Raises:
            ConfigError: it was opened without ``state``.
        """
        ...

    @property
    def members(self) -> Sequence[Member]:
        """Everybody this node knows of, itself included."""
        ...

    def lookup(self, key: Key, /, *, service: str | None = None) -> Member:
        """The member on which ``key`` of ``service`` lives, as far as this node knows.

        Without ``service`` the node's only one is meant.
        """
        ...

    def owns(self, key: Key, /, *, service: str | None = None) -> bool:
        """Whether ``key`` of ``service`` lives on this node, as far as this node knows."""
        ...

    def replicas(self, key: Key, n: int, /, *, service: str | None = None) -> Sequence[Member]:
        """The ``n`` members that follow the owner of ``key`` on the ring; fewer if there are not as many."""
        ...

    def peer(self, name: str) -> Caller:
        """One certain member to talk to, whatever the ring says.

        Raises:
            Unreachable: no member of that name takes part.
        """
        ...

    async def broadcast(self, name: str, payload: object = None, /) -> None:
        """Tell every member something small, once, by gossip; this node, too.

        Raises:
            LocalProtocolError: name and payload have more than 512 bytes encoded, or cannot be encoded.
            NodeClosed: this node has left.
        """
        ...

    def query(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        /,
        *,
        service: str | None = None,
        to: Iterable[str] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> AbstractAsyncContextManager[AnswerStream]:
        """Ask every member that offers ``service``, this one included, and get the answers as they come.

        Without ``service`` the node's only one is meant; ``to`` names those to ask instead; ``tags`` selects.

        Raises:
            InvalidRequest: this cannot be a message; nobody was asked.
            ConfigError: it is not clear which service is meant, or ``to`` or ``tags`` makes no sense.
            NodeClosed: this node has left.
        """
        ...


class ByteStream(Protocol):
    """One named stream of bytes in both directions, inside one call.

    Leaving the block closes both directions; leaving it by an exception resets the stream, with the reason. Credit
    returns to the sender as bytes are received: a slow reader stops the writer.
    """

    async def __aenter__(self) -> Self:
        """The stream itself."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None:
        """Close the stream, or reset it if the block failed."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks as they come, until the other side sends no more."""
        ...

    async def receive(self, max_bytes: int | None = None, /) -> bytes:
        """The next 1 to ``max_bytes`` bytes, or ``b""`` when the other side sends no more.

        Raises:
            StreamReset: the other side gave the stream up.
            StreamLost: the connection broke.
            ValueError: ``max_bytes`` is less than 1.
        """
        ...

    async def checkpoint(self) -> None:
        """Let others run, and notice a cancellation: for who works on what was received before."""
        ...

    async def send(self, data: bytes | bytearray | memoryview, /) -> None:
        """Send ``data``, waiting for credit.

        Raises:
            StreamReset: the other side does not want it.
            StreamLost: the connection broke.
        """
        ...

    async def send_eof(self) -> None:
        """Send no more; receiving goes on."""
        ...

    def reset(self, code: int, reason: str, /) -> None:
        """Give up both directions; the other side is told why."""
        ...

    @overload
    def objects(self, /) -> ItemStream[Any, Any]: ...

    @overload
    def objects(self, kind: type[T], /) -> ItemStream[T, T]: ...

    def objects(self, kind: Any = Any, /) -> ItemStream[Any, Any]:
        """The stream as one of objects of ``kind`` in both directions; the bytes are not to be used beside it.

        Raises:
            ConfigError: a part of the annotation is not supported.
        """
        ...

    @property
    def sent(self) -> int:
        """Bytes that were handed over."""
        ...

    @property
    def item_limit(self) -> int:
        """Bytes of the largest object that this side takes."""
        ...

    @property
    def peer_item_limit(self) -> int:
        """Bytes of the largest object that the other side takes."""
        ...


StreamSource: TypeAlias = (
    bytes | bytearray | memoryview | PathLike[str] | AsyncIterable[bytes | bytearray] | Objects[Any] | None
)
"""What feeds a named stream of a call: bytes, a file, chunks, or objects.

None leaves it to the caller to send and receive.
"""


# Not frozen, because that would make it three times as dear, and each call makes one; nobody changes it.
@dataclass(slots=True, kw_only=True)
class Request:
    """One message on its way through its handler; only ``node`` has no default, so a unit test writes one in a line."""

    node: NodeView
    """The node the handler runs on."""
    key: Key | None = None
    """What the message was routed by."""
    message: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    """The whole message, as it came: plain wire values, including ns, cmd and key."""
    peer: str = ""
    """The name of the node or client that sent it; empty if the message did not say."""
    deadline: float = math.inf
    """When the caller stops waiting, on the clock of the event loop; the handler is cancelled then."""
    streams: Mapping[str, ByteStream] = field(default_factory=lambda: _NOTHING)
    """The named streams that came with the call."""
    own: KeyState[Any] | None = None
    """The state of the key, if the service keeps some: see `OwnedKeys.of`."""


class Channel(ItemStream[In, Out]):
    """What a handler with a channel gets instead of the request: items from the caller, items to the caller.

    Iterating ends when the caller has sent all. What the handler returns is the result of the call; its direction ends
    with it. Items that do not fit the annotation raise `InvalidRequest`, which is the answer if the handler lets it
    through.
    """

    def __init__(self, stream: ByteStream, kinds: ItemKinds, request: Request) -> None:
        """Made for each call; a unit test makes one of any `ByteStream`."""
        super().__init__(stream, replace(kinds, misfit_in=InvalidRequest))
        self.request: Final = request
        """What surrounds the items: node, key, deadline, other streams."""
