"""What every node answers in the namespace ``monitoring``, as upring's nodes do: memoryUsage, info, trace; and calls.

The last two tell what goes on while somebody listens, and cost nothing while nobody does. A program that offers a
service of this name answers itself.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict, deque
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.builtin import MONITORING, NAMESPACE
from swimring.errors import Overloaded
from swimring.instrument import Instrument, SpanKind
from swimring.service import Request, Service

if TYPE_CHECKING:
    from swimring.identity import Key
    from swimring.instrument import Span

    from .node import Node

TRACE_INTERVAL: Final = 0.5
"""Seconds between two items of ``trace``."""
MAX_KEYS: Final = 100
"""Keys that one item tells, the most recent ones."""
MAX_SAMPLES: Final = 256
"""Calls that wait to be told to one who asked for ``calls``; beyond them the oldest are left out and counted."""
MAX_WATCHERS: Final = 16
"""How many may listen to one node at once; the next is refused (`Overloaded`)."""


def monitoring_service(node: Node) -> Service:
    """The service that answers for ``node``."""
    service = Service(MONITORING)
    watchers: set[object] = set()

    @service.on("memoryUsage", idempotent=True)
    async def memory_usage(request: Request) -> dict[str, int]:
        """Bytes that this process has in memory now and had at most, and how many objects' blocks of Python's own."""
        rss, peak = node.host.memory()
        return {"rss": rss, "peak": peak, "blocks": sys.getallocatedblocks()}

    @service.on("info", idempotent=True)
    async def info(request: Request) -> dict[str, Any]:
        """Who this node is, and what the program has put into `Node.info`, which wins."""
        address = node.me.address
        return {"id": node.name, "swimring": {"address": address.host, "port": address.port}, **node.info}

    @service.on("trace", idempotent=True)
    async def trace(request: Request) -> AsyncIterator[dict[str, Any]]:
        """Every half second the keys of this node that were called for, each once, the most recent first."""
        keys = _Keys(node)
        with _Watching(node, keys, watchers):
            while True:
                await trio.sleep(TRACE_INTERVAL)
                yield {"id": node.name, "keys": keys.take()}

    @service.on("calls", idempotent=True)
    async def calls(request: Request, *, of: str | bytes, service: str = "") -> AsyncIterator[dict[str, Any]]:
        """Each call for the key ``of`` that is handled here, when it has ended; ``missed`` counts what was left out."""
        samples = _Samples(of, service)
        with _Watching(node, samples, watchers):
            async for sample in samples:
                yield sample

    return service


class _Watching:
    """An observer that listens while the block runs."""

    def __init__(self, node: Node, instrument: Instrument, watchers: set[object]) -> None:
        if len(watchers) >= MAX_WATCHERS:
            raise Overloaded(f"{MAX_WATCHERS} watch {node.name} already")
        self._observing = node.observed_by(instrument)
        self._watchers = watchers

    def __enter__(self) -> None:
        self._watchers.add(self)
        self._observing.__enter__()

    def __exit__(self, *_: object) -> None:
        self._watchers.discard(self)
        self._observing.__exit__(None, None, None)


class _Keys(Instrument):
    """The keys that were called for since they were last taken."""

    timed = False
    traced = True

    def __init__(self, node: Node) -> None:
        self._node = node
        self._seen: OrderedDict[tuple[str, Key], None] = OrderedDict()

    def span_started(self, span: Span) -> bool:
        if span.kind is SpanKind.HANDLER and span.key is not None and span.ns not in {NAMESPACE, MONITORING}:
            self._seen[span.ns, span.key] = None
            self._seen.move_to_end((span.ns, span.key))
            if len(self._seen) > MAX_KEYS:
                self._seen.popitem(last=False)
        return False

    def take(self) -> list[dict[str, Any]]:
        """What this node owns of them, and forget them."""
        seen, self._seen = self._seen, OrderedDict()
        return [
            {"key": key, "hash": self._node.ring(ns).position(key)}
            for ns, key in reversed(seen)
            if self._node.owns(key, service=ns)
        ]


class _Samples(Instrument):
    """The calls for one key that have ended, for one who reads them one by one."""

    timed = False
    traced = True

    def __init__(self, key: Key, service: str) -> None:
        self._key = key
        self._service = service
        self._began: dict[Span, float] = {}
        self._ended: deque[dict[str, Any]] = deque()
        self._missed = 0
        self._news = trio.Event()

    def span_started(self, span: Span) -> bool:
        wanted = span.kind is SpanKind.HANDLER and span.key == self._key and self._service in {"", span.ns}
        if wanted:
            self._began[span] = trio.current_time()
        return wanted

    def span_ended(self, span: Span, outcome: str) -> None:
        began = self._began.pop(span, math.nan)
        if math.isnan(began):
            return
        seconds = trio.current_time() - began
        sample = {"service": span.ns, "cmd": span.cmd, "peer": span.peer, "outcome": outcome, "seconds": seconds}
        self._ended.append({**sample, "attempt": span.attempt})
        if len(self._ended) > MAX_SAMPLES:
            self._ended.popleft()
            self._missed += 1
        self._news.set()

    def __aiter__(self) -> _Samples:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while not self._ended:
            self._news = trio.Event()
            await self._news.wait()
        return {**self._ended.popleft(), "missed": self._missed}
