"""The paths of a node's admin port: health, metrics, and what the dashboard and people read of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from swimring.builtin import describe
from swimring.errors import SwimringError

from .health import Health, Stage
from .messages import EVENTS, HttpRequest, HttpResponse, Send, event, json_response, problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.instrument import Instrument
    from swimring.node import Node
    from swimring.observe.metrics import Metrics

SHOWN_ARCS: Final = 4_096
"""Ranges of a ring that are told at most: more than a picture can show."""


class Site:
    """Answers for one process, from before its node is open until after it has left."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        """Without ``metrics`` nothing is there for Prometheus."""
        self.health = Health()
        self._metrics = metrics
        self._node: Node | None = None
        self._reads: dict[str, Callable[[Node, HttpRequest], Awaitable[HttpResponse]]] = {
            "/api/node": _tell_node,
            "/api/members": _tell_members,
            "/api/ring": _tell_ring,
            "/api/lookup": _tell_owner,
            "/api/events": _tell_events,
        }

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What the node has to be opened with."""
        return () if self._metrics is None else (self._metrics,)

    def show(self, node: Node) -> None:
        """The node is open: tell of it."""
        self._node = node
        if self._metrics is not None:
            self._metrics.watch(node)
        self.health.reached(Stage.SERVING)

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer one request; reading is all there is."""
        if (probed := self.health.answer(request.path)) is not None:
            return probed
        if request.method != "GET":
            return problem(405, "this port only tells")
        if request.path == "/metrics":
            return self._tell_metrics()
        read = self._reads.get(request.path)
        if read is None:
            return problem(404, "no such page")
        if self._node is None:
            return problem(503, "the node is still starting")
        try:
            return await read(self._node, request)
        except SwimringError as error:
            return problem(400, str(error))

    def _tell_metrics(self) -> HttpResponse:
        if self._metrics is None:
            return problem(404, "no metrics here: pip install 'swimring[metrics]'")
        return HttpResponse(body=self._metrics.text(), content_type=self._metrics.content_type)


async def _tell_node(node: Node, _request: HttpRequest) -> HttpResponse:
    now = node.statistics()
    return json_response(
        {
            "name": node.name,
            "cluster": node.cluster,
            "services": sorted(node.me.metadata.services),
            "lag": now.lag,
            "health": now.gossip.health,
            "owned": now.owned,
            "connections": now.calls.connections,
            "streams": now.calls.streams,
            "calling": now.calls.calling,
            "handling": now.calls.handling,
            "counters": node.counters(),
            "version": now.version,
        }
    )


def _members(node: Node) -> list[dict[str, Any]]:
    return [{**describe(member), "lag": node.lag(member.name)} for member in node.members]


async def _tell_members(node: Node, _request: HttpRequest) -> HttpResponse:
    return json_response(_members(node))


async def _tell_ring(node: Node, request: HttpRequest) -> HttpResponse:
    ring = node.ring(request.query.get("service"))
    # As text: a position has 64 bits, and numbers of JavaScript hold 53.
    arcs = [[str(start), str(end), owner] for start, end, owner in ring.ranges()]
    return json_response({"version": ring.version, "share": ring.share(), "arcs": arcs[:SHOWN_ARCS]})


async def _tell_owner(node: Node, request: HttpRequest) -> HttpResponse:
    key, service = request.query.get("key", ""), request.query.get("service")
    owner = node.lookup(key, service=service)
    replicas = [member.name for member in node.replicas(key, 2, service=service)]
    position = str(node.ring(service).position(key))
    return json_response({"key": key, "owner": owner.name, "replicas": replicas, "position": position})


async def _tell_events(node: Node, _request: HttpRequest) -> HttpResponse:
    async def body(send: Send) -> None:
        async with node.events() as events:
            await send(event("members", _members(node)))
            async for happened in events:
                await send(event(type(happened).__name__, str(happened)))
                await send(event("members", _members(node)))

    return HttpResponse(body=body, content_type=EVENTS)
