"""The paths of a node's admin port: health, metrics, the dashboard, and what it and people read of the node."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from swimring.admin.turns import turn
from swimring.builtin import describe
from swimring.errors import SwimringError
from swimring.observe import Timeline, Traffic, Trips
from swimring.ownership import RangesGained, RangesLost
from swimring.swim import MemberJoined, MemberUpdated

from .asking import Asking, add_reports
from .health import Health, Stage
from .messages import EVENTS, HttpRequest, HttpResponse, json_response, problem
from .page import page
from .steering import Steering
from .streaming import Telling
from .telling import tell_members, tell_node, tell_owner, tell_ring

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.instrument import Instrument
    from swimring.net import Host
    from swimring.node import Node
    from swimring.observe.metrics import Metrics
    from swimring.swim import Member

    from .messages import Send

MOST_PAGES: Final = 32
"""Pages that are told of changes at once; the next is asked to come back."""


class Site:
    """Answers for one process, from before its node is open until after it has left."""

    def __init__(
        self, metrics: Metrics | None = None, *, steering: Steering | None = None, host: Host | None = None
    ) -> None:
        """Without ``metrics`` nothing is there for Prometheus, without ``steering`` it takes no orders.

        ``host`` has the wall clock; default: the real one.
        """
        self.health = Health()
        self.steering = steering or Steering()
        self.timeline = Timeline(host)
        self._traffic = Traffic()
        self._trips = Trips()
        self._metrics = metrics
        self._node: Node | None = None
        self._asking: Asking | None = None
        self._pages = 0
        self._reads: dict[str, Callable[[Node, HttpRequest], Awaitable[HttpResponse]]] = {
            "/api/node": tell_node,
            "/api/members": tell_members,
            "/api/ring": tell_ring,
            "/api/lookup": tell_owner,
            "/api/events": self._tell_events,
            "/api/timeline": self._tell_timeline,
            "/api/cluster": self._tell_cluster,
            "/api/keys": self._tell_keys,
            "/api/running": self._tell_running,
        }

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What the node has to be opened with."""
        observers: tuple[Instrument, ...] = (self.timeline, self._traffic, self._trips)
        return observers if self._metrics is None else (*observers, self._metrics)

    def show(self, node: Node) -> None:
        """The node is open: tell of it."""
        self._node = node
        self._asking = Asking(node)
        add_reports(node, self._traffic, self._trips)
        if self._metrics is not None:
            self._metrics.watch(node)
        self.health.reached(Stage.SERVING)

    async def follow(self, node: Node) -> None:
        """Write to the time-line what no observer is told: ranges that move, nodes that take keys or no more."""
        takes = {member.name: describe(member)["takes"] for member in node.members}
        async with node.events() as events:
            async for happened in events:
                match happened:
                    case RangesLost() | RangesGained():
                        self._note_moves(happened)
                    case MemberUpdated(member=member) | MemberJoined(member=member):
                        self._note_turn(member, takes)
                    case _:
                        pass

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        standing = None if self._node is None else self._node.standing
        if (probed := self.health.answer(request.path, standing)) is not None:
            return probed
        is_order = request.path.startswith("/api/orders/")
        if is_order != (request.method == "POST"):
            return problem(405, "orders are POST, everything else is GET")
        if (shown := page(request.path)) is not None:
            return shown
        if request.path == "/metrics":
            return self._tell_metrics()
        answer = self.steering.answer if is_order else self._reads.get(request.path)
        if answer is None:
            return problem(404, "no such page")
        if self._node is None:
            return problem(503, "the node is still starting")
        try:
            return await answer(self._node, request)
        except (SwimringError, ValueError) as error:
            return problem(400, str(error))

    def _tell_metrics(self) -> HttpResponse:
        if self._metrics is None:
            return problem(404, "no metrics here: pip install 'swimring[metrics]'")
        return HttpResponse(body=self._metrics.text(), content_type=self._metrics.content_type)

    # ----------------------------------------------------------------------------------------------- the dashboard

    async def _tell_events(self, node: Node, request: HttpRequest) -> HttpResponse:
        if self._pages >= MOST_PAGES:
            return problem(503, f"{MOST_PAGES} pages are open already")
        since = request.query.get("since", "")
        telling = Telling(
            node,
            timeline=self.timeline,
            asking=self._ask(),
            service=request.query.get("service"),
            writable=self.steering.writable,
            since=int(since) if since.isdecimal() else None,
        )

        async def body(send: Send) -> None:
            self._pages += 1
            try:
                await telling.body(send)
            finally:
                self._pages -= 1

        return HttpResponse(body=body, content_type=EVENTS)

    async def _tell_timeline(self, node: Node, _request: HttpRequest) -> HttpResponse:
        entries = [asdict(entry) for entry in self.timeline.since(0)]
        told = json_response({"node": node.name, "cluster": node.cluster, "entries": entries})
        name = 'attachment; filename="swimring-timeline.json"'
        return HttpResponse(body=told.body, content_type=told.content_type, headers={"Content-Disposition": name})

    async def _tell_cluster(self, _node: Node, _request: HttpRequest) -> HttpResponse:
        return json_response(await self._ask().picture())

    async def _tell_keys(self, node: Node, request: HttpRequest) -> HttpResponse:
        """Of the keys of one node, those from one place of the circle to another."""
        query = request.query
        of = {
            "service": query.get("service", ""),
            "start": float(query.get("start", "0")),
            "end": float(query.get("end", "1")),
        }
        (told,) = await self._ask().each(["keys"], of, to=[query.get("node", node.name)]) or [{"error": "it is gone"}]
        return json_response(told.get("keys", {"error": told.get("error", "it does not tell its keys")}))

    async def _tell_running(self, _node: Node, request: HttpRequest) -> HttpResponse:
        """Who runs for which key; all nodes, or one."""
        key, name = request.query.get("key"), request.query.get("node")
        of: dict[str, Any] = {"key": key} if key else {}
        told = await self._ask().each(["running"], of, to=None if name is None else [name])
        return json_response(
            [{k: v for k, v in one.items() if k in {"name", "running", "error"}} for one in told],
        )

    def _ask(self) -> Asking:
        assert self._asking is not None
        return self._asking

    # ------------------------------------------------------------------------------------------------ the time-line

    def _note_moves(self, happened: RangesLost | RangesGained) -> None:
        lost = isinstance(happened, RangesLost)
        others = sorted({other for move in happened.moves if (other := move.target if lost else move.source)})
        named = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        share = f"{100 * happened.share:.1f} % of the keys of {happened.service}"
        text = f"{share} moved {'away, to' if lost else 'here, from'} {named or 'nobody'}"
        self.timeline.put("lost" if lost else "gained", happened.service, text)

    def _note_turn(self, member: Member, takes: dict[str, str]) -> None:
        now = describe(member)["takes"]
        before, takes[member.name] = takes.get(member.name), now
        if before not in {None, now}:
            kind, text = turn(now)
            self.timeline.put(kind, member.name, f"{member.name} {text}")
