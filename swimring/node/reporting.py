"""What a node tells of itself to the other nodes when somebody asks: numbers, running calls, and what observers add."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from swimring.errors import NodeClosed
from swimring.instrument import Instruments
from swimring.rpc import running_calls

from .operating import Operating

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from swimring.identity import Key
    from swimring.instrument import Instrument
    from swimring.net import Host
    from swimring.rpc import RunningCall
    from swimring.swim import Suspicion

    from .statistics import NodeStatistics

Report: TypeAlias = "Callable[[Mapping[str, Any]], object]"
"""Tells one part of a report; its argument says more exactly what is asked for. Plain values, and not too many."""

MOST_KEYS: Final = 50
"""Open keys that one report names, and as many that are tracked."""
MOST_CALLS: Final = 100
"""Running calls that one report tells, the oldest first; and suspicions."""


class Reporting(Operating):
    """What a `Node` reports."""

    def __init__(self, *, instruments: Instruments | None = None, **parts: Any) -> None:
        """Made by `Node`."""
        super().__init__(**parts)
        self._instruments = instruments or Instruments()
        self.info: dict[str, Any] = {}
        """What the program adds to what this node tells of itself as ``ns: monitoring, cmd: info``."""
        self._nursery: trio.Nursery | None = None
        self._reports: dict[str, Report] = {"running": self._tell_running, "ownership": self._tell_ownership}

    @property
    def host(self) -> Host:
        """The clocks and the dice of the machine."""
        raise NotImplementedError

    def statistics(self) -> NodeStatistics:
        """How this node is at this moment."""
        raise NotImplementedError

    @contextmanager
    def observed_by(self, instrument: Instrument) -> Iterator[None]:
        """Let ``instrument`` hear what happens while the block runs."""
        self._instruments.add(instrument)
        try:
            yield
        finally:
            self._instruments.remove(instrument)

    def add_report(self, name: str, report: Report) -> None:
        """Tell one more part to whoever asks the handler ``statistics`` of the namespace ``swimring`` for ``name``.

        It is called in the task of that handler and must not block. One of the same name takes its place.
        """
        self._reports[name] = report

    def report(self, about: Iterable[str], of: Mapping[str, Any]) -> dict[str, Any]:
        """How this node is, as plain values, and the parts ``about`` that there are, each with what it tells ``of``."""
        now, hand_off = self.statistics(), self.hand_off.now
        told: dict[str, Any] = {
            "name": self.me.name,
            "version": now.version,
            "wall": self.host.wall_ms(),
            "lag": now.lag,
            "health": now.gossip.health,
            "owned": dict(now.owned),
            "ring_version": now.ring_version,
            "connections": now.calls.connections,
            "streams": now.calls.streams,
            "blocked": now.calls.blocked,
            "calling": now.calls.calling,
            "handling": now.calls.handling,
            "hand_off": {"total": hand_off.total, "left": hand_off.left},
            "suspicions": _suspicions(now.gossip.suspicions),
        }
        told.update({name: self._reports[name](of) for name in dict.fromkeys(about) if name in self._reports})
        return told

    def running_calls(self) -> list[RunningCall]:
        """The calls that are handled here at this moment, the oldest first, and the tasks below each handler.

        It walks the tasks of this node: for people who want to know who holds a key, not for every second.
        """
        return [] if self._nursery is None else running_calls(self._nursery)

    # -------------------------------------------------------------------------------------------------- inside

    def _tell_ownership(self, of: Mapping[str, Any]) -> dict[str, Any] | None:
        """How much state is here, and which keys are open; None before this node has joined."""
        try:
            ownership = self.ownership
        except NodeClosed:
            return None
        wanted = of.get("service")
        return {
            **asdict(ownership.statistics()),
            "tracked": len(self._tracking),
            "open": _some(((each.service, each.key) for each in ownership.open_keys()), wanted),
            "tracking": _some(self._tracking.keys(), wanted),
        }

    def _tell_running(self, of: Mapping[str, Any]) -> list[dict[str, Any]]:
        key: Key | None = of.get("key")
        chosen = (call for call in self.running_calls() if call.ns != "swimring" and (key is None or key == call.key))
        now = trio.current_time()
        return [_describe(call, now) for call, _ in zip(chosen, range(MOST_CALLS), strict=False)]


def _some(keys: Iterable[tuple[str, bytes]], service: str | None) -> list[list[object]]:
    """The first keys of that service, or of all."""
    chosen = (one for one in keys if service in {None, one[0]})
    return [list(one) for one in islice(chosen, MOST_KEYS)]


def _suspicions(under_way: Iterable[Suspicion]) -> list[dict[str, Any]]:
    now = trio.current_time()
    return [
        {
            "suspect": each.suspect.name,
            "accusers": sorted(each.accusers),
            "left": max(0.0, each.deadline - now),
            "lasts": each.deadline - each.started,
        }
        for each in under_way
    ][:MOST_CALLS]


def _describe(call: RunningCall, now: float) -> dict[str, Any]:
    return {
        "ns": call.ns,
        "cmd": call.cmd,
        "key": call.key,
        "peer": call.peer,
        "since": now - call.began,
        "left": None if call.deadline == math.inf else call.deadline - now,
        "where": list(call.where),
        "children": [{"name": each.name, "where": list(each.where), "depth": each.depth} for each in call.children],
    }
