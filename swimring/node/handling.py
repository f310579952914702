"""From a call that arrived to the handler that answers it: whose key it is, which handler, in whose scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swimring import mux
from swimring.rpc import refuse_unless_owner
from swimring.service import Dispatcher, Request
from swimring.tracing import Trace, enter_trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swimring.ownership import Ownership
    from swimring.rpc import Forwarding, Incoming, PeerStream, RingView
    from swimring.service import BoundCall, KeyState, Service

    from .node import Node


class Handling:
    """Answers the calls of a running node; it is a `swimring.rpc.Serve`."""

    def __init__(
        self, node: Node, services: Sequence[Service], *, rings: RingView, forwarding: Forwarding, ownership: Ownership
    ) -> None:
        """Answer with the handlers of ``services``."""
        self.dispatcher = Dispatcher(services)
        self._owned = {service.name: service.owned for service in services}
        self._node = node
        self._rings = rings
        self._forwarding = forwarding
        self._ownership = ownership

    async def __call__(self, incoming: Incoming) -> object:
        """Answer one call.

        Raises:
            Exception: whatever the handler raises, and refusals before it has begun.
        """
        header = incoming.header
        if header.forward and (relayed := await self._forwarding.forward(incoming)) is not None:
            return relayed
        refuse_unless_owner(self._rings, self._node.name, header)
        bound = self.dispatcher.match(incoming.message)
        bound.check_streams(incoming.streams)
        owned = self._owned.get(header.ns)
        if owned is None or header.key is None:
            return await self._invoke(incoming, bound, None)
        return await self._ownership.run(
            owned,
            header.key,
            lambda own: self._invoke(incoming, bound, own),
            refuse=lambda: refuse_unless_owner(self._rings, self._node.name, header),
            brief=not (incoming.streams or bound.endpoint.has_items),
        )

    async def _invoke(self, incoming: Incoming, bound: BoundCall, own: KeyState[Any] | None) -> object:
        items = incoming.streams.get(mux.ITEMS)
        request = Request(
            node=self._node,
            key=incoming.header.key,
            message=incoming.message,
            peer=incoming.peer,
            deadline=incoming.deadline,
            streams=incoming.streams if items is None else _without_items(incoming.streams),
            own=own,
        )
        self._node.let_handler_call()
        if incoming.header.traceparent is not None:
            enter_trace(Trace.read(incoming.header.traceparent))
        incoming.begin(declare=bound.endpoint.errors.describe)
        return await bound.invoke(request, items)


def _without_items(streams: Mapping[str, PeerStream]) -> Mapping[str, PeerStream]:
    return {name: stream for name, stream in streams.items() if name != mux.ITEMS}
