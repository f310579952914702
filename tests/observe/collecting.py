"""A receiver of spans over HTTP on loopback: OpenTelemetry's own protocol, and Zipkin's JSON."""

from __future__ import annotations

import gzip
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Received:
    """What was posted."""

    def __init__(self, url: str) -> None:
        self.otlp_url = f"{url}/v1/traces"
        self.zipkin_url = f"{url}/api/v2/spans"
        self.otlp: list[ExportTraceServiceRequest] = []
        self.zipkin: list[dict[str, Any]] = []

    def spans(self) -> list[tuple[str, Span]]:
        """What came by OTLP: the instance of the service, and the span."""
        return [
            (
                next(
                    (fact.value.string_value for fact in of.resource.attributes if fact.key == "service.instance.id"),
                    "",
                ),
                span,
            )
            for one in self.otlp
            for of in one.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]


@contextmanager
def receiving(*, status: int = 200) -> Iterator[Received]:
    """A server that takes what is posted to it, and answers with ``status``."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                received.otlp.append(ExportTraceServiceRequest.FromString(body))
            elif self.path == "/api/v2/spans":
                received.zipkin.extend(json.loads(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        received = Received(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()
