"""One certain member, as somebody to talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swimring.rpc import outgoing
from swimring.service import NO_STREAMS, Asker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from swimring.rpc import Routing
    from swimring.service import OpenedCall, Streams


class NodePeer(Asker):
    """One certain member, asked directly: the ring is not consulted, and no other node is tried."""

    def __init__(self, routes: Callable[[], Routing], name: str) -> None:
        """Made by `Node.peer`; ``routes`` raises `NodeClosed` once the node has left."""
        self._routes = routes
        self.name = name

    def __repr__(self) -> str:
        return f"<NodePeer {self.name}>"

    def _ask(self, message: Mapping[str, Any], *, idempotent: bool, streams: Streams = NO_STREAMS) -> Awaitable[Any]:
        return self._routes().request_at(self.name, outgoing(message, idempotent=idempotent, streams=streams))

    def _tell(self, message: Mapping[str, Any]) -> Awaitable[None]:
        return self._routes().cast_at(self.name, outgoing(message))

    def _hold(
        self, message: Mapping[str, Any], *, idempotent: bool, streams: Streams
    ) -> AbstractAsyncContextManager[OpenedCall]:
        return self._routes().open_at(self.name, outgoing(message, idempotent=idempotent, streams=streams))
