"""A result that hands streams over: they outlive the handler, and the caller reads them in the block of its call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, TypeAlias, TypeVar

from .request import ByteStream, StreamSource

T = TypeVar("T")

ReplySource: TypeAlias = StreamSource | Callable[[ByteStream], Awaitable[object]]
"""What a handed-over stream is at the callee: a source that is sent, or an async function that gets both directions."""

_NO_STREAMS: Final[Mapping[str, Any]] = MappingProxyType({})


class Reply(Generic[T]):
    """What a handler returns, as `Reply[int]`, to send streams along; and what its caller gets for it."""

    __slots__ = ("sources", "streams", "value")

    def __init__(
        self,
        value: T,
        streams: Mapping[str, ReplySource] = _NO_STREAMS,
        *,
        opened: Mapping[str, ByteStream] = _NO_STREAMS,
    ) -> None:
        """A handler gives ``streams`` their sources. ``opened`` are the caller's ends."""
        self.value: Final[T] = value
        """The result itself."""
        self.sources: Final = streams
        """At the handler: what each stream is there."""
        self.streams: Final = opened
        """At the caller: the streams by name, until the block of the call is left; none if it was not held open."""

    def __repr__(self) -> str:
        return f"Reply({self.value!r}, streams={[*self.sources, *self.streams]})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reply):
            return NotImplemented
        return (self.value, self.sources, self.streams) == (other.value, other.sources, other.streams)

    __hash__ = None  # type: ignore[assignment]  # what has streams is no key
