"""The whole cluster as one node's dashboard shows it: every node is asked over the mesh how it is, when somebody looks.

However many look, the nodes are asked once in `FRESH` seconds; at most `MOST_NODES` are asked, and nobody is waited for
longer than `PATIENCE`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.builtin import NAMESPACE
from swimring.observe import percentile
from swimring.ring import CIRCLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swimring.node import Node
    from swimring.observe import HandlerTraffic, Traffic, Trips
    from swimring.service import Answer

FRESH: Final = 1.5
"""Seconds for which an answer is told again."""
PATIENCE: Final = 2.0
"""Seconds in which a node has to answer to be in the picture."""
MOST_NODES: Final = 64
"""Nodes that are asked, in the order of their names; this one is always among them."""
MOST_HANDLERS: Final = 50
"""Handlers that one node tells, the busiest first."""
MOST_TRIPS: Final = 64
"""Round trips that one node tells."""
BUSIEST: Final = 8
"""Keys of a range that are told by name."""

_ERRORS: Final = 200
_SUMS: Final = ("rate", "handled", "failed", "cancelled", "calls", "retried", "given_up")


def add_reports(node: Node, traffic: Traffic, trips: Trips) -> None:
    """Let ``node`` tell others what the observers of its admin port have seen."""

    def tell_keys(of: Mapping[str, Any]) -> dict[str, Any]:
        return _keys(node, traffic, of)

    node.add_report("traffic", lambda _of: [_row(one) for one in traffic.handlers()[:MOST_HANDLERS]])
    node.add_report("trips", lambda _of: dict(list(trips.seconds().items())[:MOST_TRIPS]))
    node.add_report("keys", tell_keys)


class Asking:
    """What the nodes of a cluster tell one of them."""

    def __init__(self, node: Node) -> None:
        """Ask through ``node``."""
        self._node = node
        self._lock = trio.Lock()
        self._picture: dict[str, Any] = {}
        self._asked = self._told = -math.inf

    async def picture(self) -> dict[str, Any]:
        """All nodes and all handlers; asked for at most `FRESH` ago, or while this waited.

        Raises:
            NodeClosed: this node has left.
        """
        since = trio.current_time()
        async with self._lock:
            now = trio.current_time()
            if since >= self._told and now >= self._asked + FRESH:
                told = await self.each(["traffic", "trips", "ownership"], {})
                self._picture = {
                    "nodes": [{k: v for k, v in one.items() if k != "traffic"} for one in told],
                    "handlers": handlers_of(told),
                    "unasked": max(0, len(self._active()) - MOST_NODES),
                }
                self._asked, self._told = now, trio.current_time()
            return self._picture

    async def each(
        self, about: Iterable[str], of: Mapping[str, Any], to: Iterable[str] | None = None
    ) -> list[dict[str, Any]]:
        """What each node tells about these parts, by name; of one that does not, its name and the error.

        Raises:
            NodeClosed: this node has left.
        """
        names = sorted(self._active(), key=lambda name: (name != self._node.name, name))[:MOST_NODES]
        asked = names if to is None else [name for name in to if name in self._active()]
        payload = {"about": list(about), "of": dict(of)}
        told: dict[str, dict[str, Any]] = {}
        with trio.move_on_after(PATIENCE):
            async with self._node.query("statistics", payload, service=NAMESPACE, to=asked) as answers:
                async for answer in answers:
                    told[answer.member] = _report(answer)
        late = {"error": f"no answer within {PATIENCE:g} s"}
        return [told.get(name) or {"name": name, **late} for name in sorted(asked)]

    def _active(self) -> set[str]:
        return {member.name for member in self._node.members if member.status.active}


def handlers_of(told: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each handler over all nodes, the busiest first, with percentiles of all its calls and the rate on each node."""
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for report in told:
        for row in filter(_is_row, report.get("traffic") or ()):
            total = sums.setdefault((row["ns"], row["cmd"]), {"on": {}, "history": [], "buckets": Counter()})
            for field in _SUMS:
                total[field] = total.get(field, 0) + row[field]
            total["on"][report["name"]] = row["rate"]
            total["history"] = [a + b for a, b in zip(total["history"] or [0] * 99, row["history"], strict=False)]
            total["buckets"].update({int(number): int(count) for number, count in row["buckets"]})
    rows = []
    for (ns, cmd), total in sums.items():
        buckets = total.pop("buckets")
        rows.append({"ns": ns, "cmd": cmd, **total, "p50": percentile(buckets, 0.5), "p99": percentile(buckets, 0.99)})
    return sorted(rows, key=lambda row: (-row["rate"], -row["handled"], row["ns"], row["cmd"]))


def _is_row(row: Any) -> bool:
    """Whether it is what `_row` makes: a node of another version may tell less, or something else."""
    try:
        numbers = [*(row[field] for field in _SUMS), *row["history"], *itertools.chain(*row["buckets"])]
        named = isinstance(row["ns"], str) and isinstance(row["cmd"], str)
    except (TypeError, KeyError):
        return False
    return named and all(isinstance(number, int | float) for number in numbers)


def _report(answer: Answer) -> dict[str, Any]:
    if isinstance(answer.value, dict):
        return {**answer.value, "name": answer.member}
    return {"name": answer.member, "error": str(answer.error)[:_ERRORS]}


def _row(one: HandlerTraffic) -> dict[str, Any]:
    return {
        "ns": one.ns,
        "cmd": one.cmd,
        **{field: getattr(one, field) for field in _SUMS},
        "history": list(one.history),
        "buckets": [[number, count] for number, count in one.buckets.items()],
    }


def _keys(node: Node, traffic: Traffic, of: Mapping[str, Any]) -> dict[str, Any]:
    """Keys called for in the last minute that lie from ``start`` to ``end``, fractions of the circle; or all."""
    service, start, end = str(of.get("service", "")), float(of.get("start", 0.0)), float(of.get("end", 1.0))
    ring = node.ring(service)
    rates = {
        key: rate
        for key, rate in traffic.keys(service).items()
        if start <= ring.position(key) / CIRCLE < end and ring.lookup(key) == node.name
    }
    busiest = sorted(rates.items(), key=lambda item: -item[1])[:BUSIEST]
    return {"keys": len(rates), "rate": sum(rates.values()), "busiest": [[key, rate] for key, rate in busiest]}
