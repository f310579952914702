"""Two nodes and the spans of the calls between them, sent to an OpenTelemetry collector, to Zipkin, or to both.

``python examples/tracing.py --otlp http://localhost:4318/v1/traces --zipkin http://localhost:9411/api/v2/spans``, after
``pip install "swimring[examples]"``. OTLP is the way to go: Zipkin reads it, too, by its module ``zipkin-otel``, and a
collector hands it on to a Zipkin that does not. `ZipkinExporter` is for who has neither: OpenTelemetry's own package is
deprecated (https://opentelemetry.io/blog/2025/deprecating-zipkin-exporters/), and Zipkin's format is small.
"""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import trio

from swimring import Request, Service, open_node
from swimring.errors import MissingExtra

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.trace import SpanKind, StatusCode
except ImportError as missing:
    raise MissingExtra("examples", "opentelemetry-sdk, opentelemetry-exporter-otlp-proto-http") from missing

from swimring.observe.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swimring.node import Node

app = Service("shop")
right_asked = trio.Event()


@app.on("checkout")
async def checkout(request: Request, item: str) -> int:
    return await request.node.call(price, item)


@app.on("price", idempotent=True)
async def price(request: Request) -> int:
    if request.node.name == "right":
        right_asked.set()
    await trio.sleep(0.1)
    return 100 * len(str(request.key))


class ZipkinExporter(SpanExporter):
    """Posts spans as Zipkin's JSON, version 2 (https://zipkin.io/zipkin-api/)."""

    def __init__(self, url: str) -> None:
        self.url = url

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them; it runs in a thread of its own, of `BatchSpanProcessor`, and never raises."""
        body = json.dumps([zipkin_span(span) for span in spans]).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310 - as told
        try:
            with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - as told
                return SpanExportResult.SUCCESS
        except (urllib.error.URLError, TimeoutError):
            return SpanExportResult.FAILURE


def zipkin_span(span: ReadableSpan) -> dict[str, Any]:
    """One span as Zipkin wants it: times in microseconds, values of tags as text, no kind for what is internal."""
    assert span.context is not None
    assert span.start_time is not None
    assert span.end_time is not None
    tags = {name: str(value) for name, value in (span.attributes or {}).items()}
    if span.status.status_code is StatusCode.ERROR:
        tags["error"] = span.status.description or "error"
    told: dict[str, Any] = {
        "traceId": f"{span.context.trace_id:032x}",
        "id": f"{span.context.span_id:016x}",
        "name": span.name,
        "timestamp": span.start_time // 1000,
        "duration": max(1, (span.end_time - span.start_time) // 1000),
        "localEndpoint": {"serviceName": str(span.resource.attributes["service.instance.id"])},
        "tags": tags,
        "annotations": [{"timestamp": event.timestamp // 1000, "value": event.name} for event in span.events],
    }
    if span.parent is not None:
        told["parentId"] = f"{span.parent.span_id:016x}"
    if span.kind is not SpanKind.INTERNAL:
        told["kind"] = span.kind.name
    return told


def provider_of(node: str, exporters: Sequence[SpanExporter]) -> TracerProvider:
    """What makes the spans of one node. A program with one node has one, and leaves it to ``Tracing()`` to find it."""
    provider = TracerProvider(resource=Resource({"service.name": "shop", "service.instance.id": node}))
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def key_of(node: Node, owner: str) -> str:
    return next(key for key in map(str, range(1_000)) if node.lookup(key).name == owner)


async def tell_price(node: Node, item: str) -> None:
    print("tried again when right had ended:", await node.call(price, item))


async def main(provide: Callable[[str], TracerProvider]) -> None:
    tracing = {name: [Tracing(tracer_provider=provide(name))] for name in ("left", "right")}
    async with (
        open_node(app, name="left", cluster="traced", instruments=tracing["left"]) as left,
        trio.open_nursery() as nursery,
    ):
        join = [str(left.me.address)]
        async with open_node(app, name="right", cluster="traced", join=join, instruments=tracing["right"]) as right:
            await left.wait_ring(app, nodes=2)
            here, there = key_of(left, "left"), key_of(left, "right")
            print("from left to right and back:", await left.call(checkout, there, here))
            nursery.start_soon(tell_price, left, there)
            await right_asked.wait()
            right.hurry()  # it ends in the middle of the call, which is tried again: left owns all keys then


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--otlp", help="URL of a collector's traces over HTTP")
    parser.add_argument("--zipkin", help="URL of Zipkin's spans")
    said = parser.parse_args()

    with ExitStack() as stack:

        def provide(node: str) -> TracerProvider:
            exporters: list[SpanExporter] = [OTLPSpanExporter(endpoint=said.otlp)] if said.otlp else []
            provider = provider_of(node, [*exporters, *([ZipkinExporter(said.zipkin)] if said.zipkin else [])])
            stack.callback(provider.shutdown)  # sends what is left, and waits for it: after the event loop has ended
            return provider

        trio.run(main, provide)
