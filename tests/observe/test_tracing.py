"""Spans of two or three nodes of one process, as OpenTelemetry's SDK got them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator  # noqa: TC003 - handlers are read
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from swimring.errors import HandlerFailed
from swimring.instrument import Instrument, Span
from swimring.mux import CallHeader, encode_fields
from swimring.observe.tracing import MAX_METHODS, OTHER, Tracing
from swimring.service import Request, Service
from swimring.testing import SimulatedNetwork  # noqa: TC001
from swimring.tracing import current_trace
from tests.node.nodes import Shop, key_of, node_at, nodes_at, simulated
from tests.node.test_forwarding import outsider_at

if TYPE_CHECKING:
    from collections.abc import Iterator


class Collector:
    """What was exported, and the tracing to give to nodes."""

    def __init__(self, *, keys: bool = False, sampler: Any = None) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.provider = TracerProvider(sampler=sampler, resource=Resource({}))
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider(metric_readers=[self.reader], resource=Resource({}))
        self.tracing = Tracing(tracer_provider=self.provider, meter_provider=self.meters, keys=keys)
        self.tracer = self.provider.get_tracer("program")

    def spans(self, name: str = "", kind: SpanKind | None = None) -> list[ReadableSpan]:
        ended = self.exporter.get_finished_spans()
        return [one for one in ended if name in (one.name, "") and kind in {one.kind, None}]

    def only(self, name: str, kind: SpanKind) -> ReadableSpan:
        (found,) = self.spans(name, kind)
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@contextmanager
def collecting(**how: Any) -> Iterator[Collector]:
    found = Collector(**how)
    yield found
    found.provider.shutdown()
    found.meters.shutdown()


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def ident(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def events(span: ReadableSpan) -> list[tuple[str, Any]]:
    return [(one.name, (one.attributes or {})["swimring.reason"]) for one in span.events]


@simulated
async def test_a_handler_is_a_child_of_the_attempt_and_that_of_the_call_and_that_of_the_span_of_the_program(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    with collecting() as collector:
        async with nodes_at(network, "ab", shop.service, instruments=[collector.tracing]) as (a, _b):
            with collector.tracer.start_as_current_span("mine"):
                await a.call(shop.add, key_of(a, "b"), 1)
    mine, call = collector.only("mine", SpanKind.INTERNAL), collector.spans("shop/add", SpanKind.INTERNAL)[0]
    attempt, handler = collector.only("shop/add", SpanKind.CLIENT), collector.only("shop/add", SpanKind.SERVER)
    assert [parent(mine), parent(call), parent(attempt), parent(handler)] == [
        None, ident(mine), ident(call), ident(attempt)
    ]  # fmt: skip
    assert len({one.context.trace_id for one in (mine, call, attempt, handler) if one.context}) == 1
    assert dict(attempt.attributes or {}) == {
        "rpc.system.name": "swimring",
        "rpc.method": "shop/add",
        "rpc.response.status_code": "ok",
        "swimring.peer": "b",
        "server.address": "b",
        "server.port": 7979,
    }
    assert dict(handler.attributes or {}) == dict(attempt.attributes or {}) | {"swimring.peer": "a"}
    assert {one.status.status_code for one in (call, attempt, handler)} == {StatusCode.UNSET}


@simulated
async def test_spans_and_calls_of_a_handler_are_below_its_own_span_and_nothing_of_it_leaks_to_the_next(
    network: SimulatedNetwork,
) -> None:
    service = Service("nest")
    with collecting() as collector:

        @service.on("outer")
        async def outer(request: Request, to: str) -> str:
            with collector.tracer.start_as_current_span("work"):
                await request.node.call(inner, to)
            here = current_trace()
            assert here is not None
            return here.span_id

        @service.on("inner", idempotent=True)
        async def inner(request: Request) -> None:
            await trio.sleep(0.1)

        async with nodes_at(network, "ab", service, instruments=[collector.tracing]) as (a, b):
            said = await a.call(outer, key_of(a, "b"), key_of(a, "a"))
            assert current_trace() is None
            assert not trace.get_current_span().get_span_context().is_valid
            await b.call(inner, key_of(a, "b"))
    work, handler = collector.only("work", SpanKind.INTERNAL), collector.only("nest/outer", SpanKind.SERVER)
    assert (parent(work), said) == (ident(handler), trace.format_span_id(ident(handler)))
    first, second = collector.spans("nest/inner", SpanKind.INTERNAL)
    assert (parent(first), parent(second)) == (ident(work), None)


@simulated
async def test_each_attempt_of_a_call_is_a_span_and_the_call_tells_why_there_was_another(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    with collecting() as collector:
        instruments = [collector.tracing]
        async with nodes_at(network, "ab", shop.service, instruments=instruments) as (a, _):
            async with node_at(network, "d", join=["a"], instruments=instruments) as asker:
                await asker.wait_ring("shop", nodes=2)
                asker._gossiper._beliefs.listeners.close()  # its ring is frozen at two nodes
                async with node_at(network, "c", shop.service, join=["a"], instruments=instruments) as c:
                    await a.wait_ring(nodes=3)
                    assert await asker.call(shop.where, key_of(c, "c")) == "c"
    call = collector.only("shop/where", SpanKind.INTERNAL)
    attempts = collector.spans("shop/where", SpanKind.CLIENT)
    assert [(one.attributes or {})["rpc.response.status_code"] for one in attempts] == ["Moved", "ok"]
    assert [(one.attributes or {}).get("swimring.attempt") for one in attempts] == [None, 1]
    assert [one.status.status_code for one in attempts] == [StatusCode.ERROR, StatusCode.UNSET]
    assert {parent(one) for one in attempts} == {ident(call)}
    assert events(call) == [("swimring.moved", "Moved")]
    assert parent(collector.only("shop/where", SpanKind.SERVER)) == ident(attempts[1])


@simulated
async def test_a_failure_is_the_status_and_the_type_of_the_error_on_both_sides(network: SimulatedNetwork) -> None:
    shop = Shop()
    with collecting() as collector:
        async with nodes_at(network, "ab", shop.service, instruments=[collector.tracing]) as (a, _b):
            with pytest.raises(HandlerFailed):
                await a.call(shop.fail, key_of(a, "b"), "no")
    attempt, handler = collector.only("shop/fail", SpanKind.CLIENT), collector.only("shop/fail", SpanKind.SERVER)
    assert (handler.attributes or {})["error.type"] == "ZeroDivisionError"
    assert (attempt.attributes or {})["error.type"] == "HandlerFailed"
    assert attempt.status.status_code is handler.status.status_code is StatusCode.ERROR


@simulated
@pytest.mark.parametrize("late", [False, True])
async def test_who_is_cancelled_says_why_on_both_sides_and_it_is_no_error(
    network: SimulatedNetwork, late: bool
) -> None:
    shop = Shop()
    with collecting() as collector:
        async with nodes_at(network, "ab", shop.service, instruments=[collector.tracing]) as (a, _b):
            with trio.move_on_after(1.0 if late else 100.0) as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(a.call, shop.nap, key_of(a, "b"), 50.0)
                    await shop.opened.wait()
                    if not late:
                        scope.cancel()
            await trio.sleep(1)
    attempt, handler = collector.only("shop/nap", SpanKind.CLIENT), collector.only("shop/nap", SpanKind.SERVER)
    reason = "the deadline passed" if late else "the caller was cancelled"
    assert events(attempt) == [("swimring.cancelled", reason)]
    assert (attempt.attributes or {})["rpc.response.status_code"] == "cancelled"
    if not late:
        assert events(handler) == [("swimring.cancelled", reason)]
        assert handler.status.status_code is StatusCode.UNSET


@simulated
async def test_a_call_that_is_held_open_is_a_span_until_its_block_ends(network: SimulatedNetwork) -> None:
    service = Service("tick")

    @service.on("tick")
    async def tick(request: Request) -> AsyncIterator[int]:
        for number in range(3):
            await trio.sleep(1)
            yield number

    with collecting() as collector:
        async with nodes_at(network, "ab", service, instruments=[collector.tracing]) as (a, _b):
            async with a.open(tick, key_of(a, "b")) as ticks:
                async for _ in ticks:
                    assert collector.spans("tick/tick", SpanKind.CLIENT) == []
                    assert collector.spans("tick/tick", SpanKind.INTERNAL) == []
                    assert current_trace() is None
            async with a.peer("b").open(tick) as ticks:
                assert await anext(aiter(ticks)) == 0
            await trio.sleep(1)
    assert len(collector.spans("tick/tick", SpanKind.CLIENT)) == 2
    assert len(collector.spans("tick/tick", SpanKind.INTERNAL)) == 2
    attempts = {ident(one) for one in collector.spans("tick/tick", SpanKind.CLIENT)}
    assert {parent(one) for one in collector.spans("tick/tick", SpanKind.SERVER)} == attempts


@simulated
async def test_keys_are_told_only_if_asked_for_and_nodes_own_calls_never(network: SimulatedNetwork) -> None:
    shop = Shop()
    with collecting() as silent, collecting(keys=True) as telling:
        instruments = [silent.tracing, telling.tracing]
        async with nodes_at(network, "a", shop.service, instruments=instruments) as (a,):
            await a.call(shop.add, "secret", 1)
            await a.request({"ns": "swimring", "cmd": "info"})
    assert "secret" not in str([one.to_json() for one in silent.spans()])
    assert {(one.attributes or {})["swimring.key"] for one in telling.spans()} == {"secret"}
    assert {one.name for one in silent.spans()} == {"shop/add"}


@simulated
async def test_a_trace_that_is_not_sampled_is_not_sampled_on_any_node(network: SimulatedNetwork) -> None:
    shop, seen = Shop(), []

    @shop.service.on("sampled")
    async def sampled(request: Request) -> None:
        seen.append(current_trace())

    with collecting(sampler=ALWAYS_OFF) as off, collecting() as on:
        async with nodes_at(network, "a", shop.service, instruments=[off.tracing]) as (a,):
            async with nodes_at(network, "b", shop.service, instruments=[on.tracing]) as (b,):
                await b.join(["a:7979"])
                await a.wait_ring(shop.service, nodes=2)
                await a.call(sampled, key_of(a, "b"))
    assert (off.spans(), on.spans()) == ([], [])
    assert [one and one.flags & 1 for one in seen] == [0]


@simulated
async def test_what_a_handler_of_an_unsampled_call_does_is_not_sampled_either(network: SimulatedNetwork) -> None:
    service, ids = Service("nest"), []
    with collecting(sampler=ALWAYS_OFF) as off, collecting() as on:

        @service.on("outer")
        async def outer(request: Request, to: str) -> None:
            with on.tracer.start_as_current_span("work"):  # of a provider that samples whatever is not decided yet
                await request.node.call(inner, to)

        @service.on("inner")
        async def inner(request: Request) -> None:
            trace_now = current_trace()
            assert trace_now is not None
            ids.append(trace_now.trace_id)

        async with nodes_at(network, "a", service, instruments=[off.tracing]) as (a,):
            async with nodes_at(network, "b", service, instruments=[on.tracing]) as (b,):
                await b.join(["a:7979"])
                await a.wait_ring(service, nodes=2)
                with off.tracer.start_as_current_span("mine") as mine:
                    await a.call(outer, key_of(a, "b"), key_of(a, "a"))
                await a.call(outer, key_of(a, "b"), key_of(a, "a"))
    assert (off.spans(), on.spans()) == ([], [])
    assert ids[0] == trace.format_trace_id(mine.get_span_context().trace_id)
    assert len(set(ids)) == 2


@simulated
async def test_a_call_that_is_not_sampled_has_no_attempts_for_anybody(network: SimulatedNetwork) -> None:
    shop, heard = Shop(), Heard(follow=False)
    async with nodes_at(network, "ab", shop.service, instruments=[heard]) as (a, _b):
        await a.call(shop.add, key_of(a, "b"), 1)
        heard.follow = True
        await a.call(shop.add, key_of(a, "b"), 1)
    assert [one for one in heard.told if one[1] == "shop"] == [
        ("started call", "shop"), ("started handler", "shop"),
        ("started call", "shop"), ("started attempt", "shop"), ("started handler", "shop"),
        ("ended handler", "shop"), ("ended attempt", "shop"), ("ended call", "shop"),
    ]  # fmt: skip


@simulated
async def test_a_call_that_is_handed_on_is_a_handler_and_an_attempt_on_the_node_in_between(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    with collecting() as collector:
        async with (
            nodes_at(network, "ab", shop.service, instruments=[collector.tracing]) as (a, _b),
            outsider_at(network, "a") as outsider,
        ):
            mine = collector.tracer.start_span("mine")
            found = mine.get_span_context()
            said = f"00-{trace.format_trace_id(found.trace_id)}-{trace.format_span_id(found.span_id)}-01"
            header = CallHeader(ns="shop", cmd="where", key=key_of(a, "b"), traceparent=said)
            assert await outsider.ask(header, encode_fields({})) == "b"
            mine.end()
    on_a, on_b = sorted(collector.spans("shop/where", SpanKind.SERVER), key=lambda one: str(one.attributes))
    if (on_a.attributes or {})["server.address"] != "a":
        on_a, on_b = on_b, on_a
    between = collector.only("shop/where", SpanKind.CLIENT)
    assert [parent(on_a), parent(between), parent(on_b)] == [found.span_id, ident(on_a), ident(between)]
    assert (between.attributes or {})["server.address"] == "b"
    assert (on_a.attributes or {})["rpc.response.status_code"] == "relayed"
    assert events(on_a) == [("swimring.forwarded", "b")]


@simulated
async def test_methods_that_somebody_makes_up_are_one_to_the_histograms(network: SimulatedNetwork) -> None:
    with collecting() as collector:
        for number in range(MAX_METHODS + 10):
            collector.tracing.handler_finished("shop", f"known-{number}", None, "ok", 0.1)
            collector.tracing.handler_finished("shop", f"made-up-{number}", None, "NoSuchHandler", 0.1)
        read = collector.reader.get_metrics_data()
    assert read is not None
    (metric,) = read.resource_metrics[0].scope_metrics[0].metrics
    named = {(point.attributes or {})["rpc.method"] for point in metric.data.data_points}
    assert len(named) == MAX_METHODS + 1
    assert OTHER in named
    assert "shop/made-up-0" not in named


@simulated
async def test_the_histograms_of_the_conventions_count_seconds(network: SimulatedNetwork) -> None:
    shop = Shop()
    with collecting() as collector:
        async with nodes_at(network, "ab", shop.service, instruments=[collector.tracing]) as (a, _b):
            await a.call(shop.nap, key_of(a, "b"), 2.0)
            read = collector.reader.get_metrics_data()
    assert read is not None
    metrics = {one.name: one for one in read.resource_metrics[0].scope_metrics[0].metrics}
    assert set(metrics) == {"rpc.client.call.duration", "rpc.server.call.duration"}
    for metric in metrics.values():
        (point,) = metric.data.data_points
        assert metric.unit == "s"
        assert point.attributes == {
            "rpc.system.name": "swimring", "rpc.method": "shop/nap", "rpc.response.status_code": "ok",
        }  # fmt: skip
        assert getattr(point, "sum", 0) == pytest.approx(2.0, abs=0.1)


class Heard(Instrument):
    """What it was told of spans."""

    traced = True

    def __init__(self, *, follow: bool) -> None:
        self.follow = follow
        self.told: list[tuple[str, str]] = []

    def span_started(self, span: Span) -> bool:
        self.told.append((f"started {span.kind.value}", span.ns))
        return self.follow

    def span_ended(self, span: Span, outcome: str) -> None:
        self.told.append((f"ended {span.kind.value}", span.ns))


class Broken(Instrument):
    """Follows, and fails."""

    traced = True

    def span_started(self, span: Span) -> bool:
        raise ZeroDivisionError


@simulated
async def test_an_exporter_that_fails_is_dropped_and_calls_go_on(
    network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop()
    with collecting() as collector, caplog.at_level(logging.ERROR, "swimring"):

        def fail(*args: object, **kwargs: object) -> None:
            raise RuntimeError("the exporter is broken")

        collector.tracing._tracer.start_span = fail  # type: ignore[method-assign, assignment]
        async with nodes_at(network, "ab", shop.service, instruments=[collector.tracing, Broken()]) as (a, _b):
            for _ in range(3):
                assert await a.call(shop.add, key_of(a, "b"), 1) == 2
            assert not a._instruments.traced
    assert [record.event for record in caplog.records] == ["instrument.dropped"] * 4  # type: ignore[attr-defined]
