"""Spans leave by OpenTelemetry's own protocol: what a collector reads out of the bytes that were posted to it."""

from __future__ import annotations

import contextvars

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from swimring.instrument import Span, SpanKind
from swimring.observe.tracing import Tracing

from .collecting import receiving


def test_a_collector_of_otlp_reads_the_spans_of_a_call_that_failed() -> None:
    with receiving() as received:
        provider = TracerProvider(resource=Resource({"service.name": "a"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=received.otlp_url, timeout=10)))
        tracing = Tracing(tracer_provider=provider)
        call = Span(kind=SpanKind.CALL, ns="shop", cmd="buy", key="secret")
        attempt = Span(kind=SpanKind.ATTEMPT, ns="shop", cmd="buy", key="secret", peer="b", call=call)

        def fail() -> None:
            tracing.span_started(call)
            tracing.span_started(attempt)
            tracing.span_ended(attempt, "Unreachable")
            tracing.span_ended(call, "Unreachable")

        contextvars.copy_context().run(fail)  # as a call has: a span is entered for the rest of its context
        provider.shutdown()
    spans = [span for _, span in received.spans()]
    assert [span.name for span in spans] == ["shop/buy", "shop/buy"]
    assert spans[0].parent_span_id == spans[1].span_id
    assert {each.key: each.value.string_value for each in spans[0].attributes}["error.type"] == "Unreachable"
    assert "secret" not in str(received.otlp)
