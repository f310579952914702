"""Calls of a client as spans, on asyncio and on Trio, and what travels of them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from swimring.client import connect
from swimring.errors import NoSuchHandler, Overloaded
from swimring.instrument import Instrument
from swimring.observe.tracing import Tracing
from swimring.tracing import Trace, current_trace

from .test_calls import greet
from .tiny import ASK, Heard, key_of, tiny_cluster, who

pytestmark = pytest.mark.anyio


class Collector:
    """The tracing to give to a client, and the spans that were exported."""

    def __init__(self, sampler: Any = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(tracer_provider=self.provider)

    def kinds(self) -> dict[SpanKind, ReadableSpan]:
        """The only span of each kind."""
        spans = self.exporter.get_finished_spans()
        found = {span.kind: span for span in spans}
        assert len(found) == len(spans)
        return found


async def test_a_call_of_a_client_is_a_span_with_its_attempt_below_and_that_travels() -> None:
    collector = Collector()
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        async with connect(node.address, instruments=[collector.tracing]) as mesh:
            assert await mesh.request({**ASK, "key": "k"}) == "a"
            assert current_trace() is None
    spans = collector.kinds()
    call, attempt = spans[SpanKind.INTERNAL], spans[SpanKind.CLIENT]
    assert attempt.parent is not None
    assert attempt.parent == call.context
    assert dict(attempt.attributes or {}) == {
        "rpc.system.name": "swimring",
        "rpc.method": "hello/greet",
        "rpc.response.status_code": "ok",
        "server.address": "127.0.0.1",
        "server.port": node.address.port,
        "swimring.peer": "a",
    }
    (heard,) = node.calls
    assert attempt.context is not None
    ids = format_trace_id(attempt.context.trace_id), format_span_id(attempt.context.span_id)
    assert heard.header.traceparent is not None
    assert tuple(heard.header.traceparent.split("-")[1:3]) == ids


async def test_a_call_that_is_held_open_by_a_client_is_a_span_until_its_block_ends() -> None:
    collector = Collector()
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        async with connect(node.address, instruments=[collector.tracing]) as mesh:
            async with mesh.open(greet, "k", "World") as call:
                assert await call.result() == "a"
                assert collector.exporter.get_finished_spans() == ()
    assert set(collector.kinds()) == {SpanKind.INTERNAL, SpanKind.CLIENT}


async def test_the_attempts_of_a_client_are_spans_and_the_call_tells_why_there_was_another() -> None:
    async def fall(heard: Heard) -> object:
        if heard.header.attempt == 0:
            raise Overloaded("too much", retry_after=0.01)
        return "later"

    collector, counts = Collector(), Counts()
    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=fall)
        async with connect(node.address, instruments=[collector.tracing, counts]) as mesh:
            with anyio.fail_after(10):
                assert await mesh.request({**ASK, "key": "k"}, idempotent=True) == "later"
    spans = collector.exporter.get_finished_spans()
    attempts = [span for span in spans if span.kind is SpanKind.CLIENT]
    (call,) = (span for span in spans if span.kind is SpanKind.INTERNAL)
    assert [(one.attributes or {})["rpc.response.status_code"] for one in attempts] == ["Overloaded", "ok"]
    assert [one.status.status_code for one in attempts] == [StatusCode.ERROR, StatusCode.UNSET]
    assert [event.name for event in call.events] == ["swimring.retry"]
    assert counts.told == ["retried Overloaded", "finished ok"]


async def test_a_failure_and_a_cancelled_call_of_a_client_say_so() -> None:
    async def fail(heard: Heard) -> object:
        if heard.header.key == "slow":
            await anyio.sleep_forever()
        raise NoSuchHandler("no")

    collector = Collector()
    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=fail)
        async with connect(node.address, instruments=[collector.tracing]) as mesh:
            with pytest.raises(NoSuchHandler):
                await mesh.request({**ASK, "key": "k"})
            failed = collector.kinds()[SpanKind.CLIENT]
            collector.exporter.clear()
            with anyio.move_on_after(0.05):
                await mesh.request({**ASK, "key": "slow"})
    assert (failed.attributes or {})["error.type"] == "NoSuchHandler"
    cancelled = collector.kinds()[SpanKind.CLIENT]
    assert [dict(event.attributes or {}) for event in cancelled.events] == [{"swimring.reason": "the deadline passed"}]
    assert cancelled.status.status_code is StatusCode.UNSET


async def test_what_a_client_does_not_sample_travels_as_not_sampled() -> None:
    collector = Collector(ALWAYS_OFF)
    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=who)
        async with connect(node.address, instruments=[collector.tracing]) as mesh:
            await mesh.request({**ASK, "key": key_of(node)})
    (heard,) = node.calls
    assert heard.header.traceparent is not None
    travels = Trace.read(heard.header.traceparent)
    assert travels is not None
    assert not travels.sampled
    assert collector.exporter.get_finished_spans() == ()


class Counts(Instrument):
    """What became of calls."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def call_retried(self, ns: str, cmd: str, key: object, reason: str) -> None:
        self.told.append(f"retried {reason}")

    def call_finished(self, ns: str, cmd: str, key: object, outcome: str, seconds: float) -> None:
        self.told.append(f"finished {outcome}")
