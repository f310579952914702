"""Spans leave by OpenTelemetry's own protocol: what a collector reads out of the bytes that were posted to it."""

from __future__ import annotations

import contextvars
import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from swimring.instrument import Span, SpanKind
from swimring.observe.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An HTTP server on loopback that takes what is posted to it; its URL, and what it took."""
    taken: list[ExportTraceServiceRequest] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            taken.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/traces", taken
        finally:
            server.shutdown()
            thread.join()


def test_a_collector_of_otlp_reads_the_spans_of_a_call_that_failed() -> None:
    with collector() as (url, taken):
        provider = TracerProvider(resource=Resource({"service.name": "a"}))
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=10)))
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
    spans = [span for one in taken for of in one.resource_spans for scope in of.scope_spans for span in scope.spans]
    assert [span.name for span in spans] == ["shop/buy", "shop/buy"]
    assert spans[0].parent_span_id == spans[1].span_id
    assert {each.key: each.value.string_value for each in spans[0].attributes}["error.type"] == "Unreachable"
    assert "secret" not in str(taken)
