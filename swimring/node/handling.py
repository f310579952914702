"""From a call that arrived to the handler that answers it: whose key it is, which handler, in whose scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swimring import mux
from swimring.rpc import handler_span, refuse_unless_owner
from swimring.service import Dispatcher, Request
from swimring.tracing import Trace, enter_trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from swimring.instrument import Instruments
    from swimring.ownership import Ownership
    from swimring.rpc import Forwarding, Incoming, PeerStream, RingView
    from swimring.service import BoundCall, KeyState, Service

    from .node import Node


class Handling:
    """Answers the calls of a running node; it is a `swimring.rpc.Serve`."""

    def __init__(
        self,
        node: Node,
        services: Sequence[Service],
        *,
        rings: RingView,
        forwarding: Forwarding,
        ownership: Ownership,
        instruments: Instruments,
    ) -> None:
        """Answer with the handlers of ``services``."""
        self._instruments = instruments
        self.dispatcher = Dispatcher(services)
        self._owned = {service.name: service.owned for service in services if service.owned is not None}
        for owned in self._owned.values():
            ownership.serve(owned)
        self._node = node
        self._me = node.name
        self._rings = rings
        self._forwarding = forwarding
        self._ownership = ownership

    def __call__(self, incoming: Incoming, *, here: bool = False) -> Awaitable[object]:
        """Answer one call, when awaited, or now if there is nothing to wait for; ``here``, without handing it on.

        Raises:
            Exception: whatever the handler raises, and refusals before it has begun.
        """
        return self._forward(incoming) if incoming.header.forward and not here else self._handle(incoming)

    async def _forward(self, incoming: Incoming) -> object:
        relayed = await self._forwarding.forward(incoming)
        return await self._handle(incoming) if relayed is None else relayed

    def _handle(self, incoming: Incoming) -> Awaitable[object]:
        header, streams = incoming.header, incoming.streams
        refuse_unless_owner(self._rings, self._me, header)
        bound = self.dispatcher.match(incoming.message)
        if streams or bound.endpoint.has_items:
            bound.check_streams(streams)
        owned = self._owned.get(header.ns)
        if owned is None or header.key is None:
            return self._invoke(incoming, bound, None)
        return self._ownership.run(
            owned,
            header.key,
            lambda own: self._invoke(incoming, bound, own),
            refuse=lambda: refuse_unless_owner(self._rings, self._me, header),
            brief=not (streams or bound.endpoint.has_items),
        )

    def _invoke(self, incoming: Incoming, bound: BoundCall, own: KeyState[Any] | None) -> Awaitable[object]:
        header, streams = incoming.header, incoming.streams
        items = streams.get(mux.ITEMS) if streams else None
        request = Request(
            node=self._node,
            key=header.key,
            message=incoming.message,
            peer=incoming.peer,
            deadline=incoming.deadline,
            streams=streams if items is None else _without_items(streams),
            own=own,
        )
        self._node.let_handler_call()
        if header.traceparent is not None:
            enter_trace(Trace.read(header.traceparent))
        if self._instruments.traced:
            span = handler_span(incoming, self._node.me.address)
            if self._instruments.begin(span):
                incoming.span = span
        incoming.begin(declare=bound.endpoint.errors.describe)
        return bound.invoke(request, items)


def _without_items(streams: Mapping[str, PeerStream]) -> Mapping[str, PeerStream]:
    return {name: stream for name, stream in streams.items() if name != mux.ITEMS}
