"""Calls, attempts and handlers as OpenTelemetry's spans and histograms, by its conventions for RPC.

A call made here is a span around its attempts, each of them a span of kind CLIENT; a handler is one of kind SERVER
below the attempt that asked for it, on whatever node that was made. The ids on the wire are those of the spans: where
one of them begins, the trace context of the core is made to agree with it. What a program has begun with OpenTelemetry
is the parent of its calls, and in a handler the handler's span is the current one.

https://opentelemetry.io/docs/specs/semconv/rpc/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swimring.errors import MissingExtra
from swimring.instrument import Instrument, SpanKind
from swimring.tracing import Trace, current_trace, enter_trace

try:
    from opentelemetry import context, metrics, trace
except ImportError as missing:
    raise MissingExtra("tracing", "opentelemetry-api") from missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import TracerProvider

    from swimring.identity import Key
    from swimring.instrument import Span

SYSTEM: Final = "swimring"
MAX_OPEN: Final = 100_000
"""Spans that may be open at once; what begins beyond them is not traced."""
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The bounds of the histograms' buckets that the conventions give."""
MAX_METHODS: Final = 1_000
"""Pairs of service and command that the histograms tell apart; the rest, and what no handler answers, is `OTHER`."""
MAX_OUTCOMES: Final = 4 * MAX_METHODS
"""Of these pairs with an outcome, how many are kept at hand."""
OTHER: Final = "_OTHER"

_NAMESPACE: Final = "swimring"
_GOOD: Final = frozenset({"ok", "relayed"})
_CANCELLED: Final = "cancelled"
_KINDS: Final = {
    SpanKind.CALL: trace.SpanKind.INTERNAL,
    SpanKind.ATTEMPT: trace.SpanKind.CLIENT,
    SpanKind.HANDLER: trace.SpanKind.SERVER,
}


class Tracing(Instrument):
    """Give it to ``open_node(instruments=[tracing])``; where the spans go says OpenTelemetry's own set-up.

    What nodes ask each other for themselves, in the namespace ``swimring``, is not traced.
    """

    traced = True

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        keys: bool = False,
    ) -> None:
        """Export through the providers; default: the global ones.

        Args:
            tracer_provider: of the spans.
            meter_provider: of ``rpc.client.call.duration`` and ``rpc.server.call.duration``, in seconds.
            keys: whether spans say the key of the call (``swimring.key``): it may be private, and there are many.

        Raises:
            MissingExtra: by the import of this module; the package ``opentelemetry-api`` is not installed.
        """
        self._keys = keys
        self._tracer = trace.get_tracer("swimring", tracer_provider=tracer_provider)
        meter = metrics.get_meter("swimring", meter_provider=meter_provider)
        self._open: dict[Span, trace.Span] = {}
        self._methods: set[tuple[str, str]] = set()
        self._outcomes: dict[tuple[str, str, str], Mapping[str, str]] = {}

        def histogram(side: str) -> Histogram:
            return meter.create_histogram(
                f"rpc.{side}.call.duration",
                unit="s",
                description=f"How long calls took on the side of the {side}.",
                explicit_bucket_boundaries_advisory=SECONDS,
            )

        self._client, self._server = histogram("client"), histogram("server")

    # --------------------------------------------------------------------------------------------- what happens

    def span_started(self, span: Span) -> bool:
        """Begin a span below the one it belongs to, and let what follows belong to it; False if it is not recorded."""
        if span.ns == _NAMESPACE or len(self._open) >= MAX_OPEN:
            return False
        if span.kind is SpanKind.ATTEMPT:
            above = None if span.call is None else self._open.get(span.call)
            return above is not None and self._start(span, trace.set_span_in_context(above))
        if span.kind is SpanKind.CALL:
            current = trace.get_current_span()
            if current.get_span_context().is_valid:
                return self._start_below(current, span)
        outside = current_trace()
        if outside is None:
            return self._start(span, None)
        # What began unsampled is sampled nowhere: to ask the sampler again would cost as much as a span.
        if span.kind is SpanKind.CALL and not outside.sampled:
            return False
        parent = trace.set_span_in_context(_remote(outside))
        if outside.sampled:
            return self._start(span, parent)
        context.attach(parent)
        return False

    def span_event(self, span: Span, event: str, reason: str) -> None:
        """Note it where it belongs."""
        opened = self._open.get(span)
        if opened is not None:
            opened.add_event(f"swimring.{event}", {"swimring.reason": reason})

    def span_ended(self, span: Span, outcome: str) -> None:
        """Say what became of it. What was cancelled is an error to nobody: whoever did it wanted it so."""
        opened = self._open.pop(span, None)
        if opened is None:
            return
        opened.set_attribute("rpc.response.status_code", outcome)
        if outcome not in _GOOD:
            opened.set_attribute("error.type", outcome)
        if outcome not in _GOOD and outcome != _CANCELLED:
            opened.set_status(trace.Status(trace.StatusCode.ERROR, outcome))
        opened.end()

    def call_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """One more call of ours."""
        if ns != _NAMESPACE:
            self._client.record(seconds, self._outcomes.get((ns, cmd, outcome)) or self._name(ns, cmd, outcome))

    def handler_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """One more call of somebody's."""
        if ns != _NAMESPACE:
            self._server.record(seconds, self._outcomes.get((ns, cmd, outcome)) or self._name(ns, cmd, outcome))

    # --------------------------------------------------------------------------------------------------- inside

    def _start_below(self, current: trace.Span, span: Span) -> bool:
        """Begin a call that the program makes in a span of its own, if that is recorded."""
        found, outside = current.get_span_context(), current_trace()
        if found.trace_flags.sampled or current.is_recording():
            return self._start(span, None)
        if outside is None or outside.sampled:
            _enter(found)
        return False

    def _start(self, span: Span, parent: Context | None) -> bool:
        name = f"{span.ns}/{span.cmd}"
        opened = self._tracer.start_span(name, parent, _KINDS[span.kind], self._attributes(span, name))
        recording = opened.is_recording()
        if recording:
            self._open[span] = opened
        if span.kind is SpanKind.HANDLER:
            context.attach(trace.set_span_in_context(opened))  # for good: each call is handled in a context of its own
        if span.kind is not SpanKind.CALL or not recording:
            _enter(opened.get_span_context())
        return recording

    def _attributes(self, span: Span, name: str) -> Mapping[str, str | int]:
        facts: dict[str, str | int] = {"rpc.system.name": SYSTEM, "rpc.method": name}
        if span.peer:
            facts["swimring.peer"] = span.peer
        if span.address is not None:
            facts["server.address"] = span.address.path or span.address.host
            if span.address.port:
                facts["server.port"] = span.address.port
        if span.attempt:
            facts["swimring.attempt"] = span.attempt
        if self._keys and span.key is not None:
            facts["swimring.key"] = span.key if isinstance(span.key, str) else span.key.hex()
        return facts

    def _name(self, ns: str, cmd: str, outcome: str) -> Mapping[str, str]:
        """What is said of calls that ended so; remembered, since to make it costs as much as to count a call."""
        told = (ns, cmd) in self._methods or len(self._methods) < MAX_METHODS
        if told and outcome != "NoSuchHandler":
            self._methods.add((ns, cmd))
        known = (ns, cmd) in self._methods
        facts = {
            "rpc.system.name": SYSTEM,
            "rpc.method": f"{ns}/{cmd}" if known else OTHER,
            "rpc.response.status_code": outcome,
        }
        if outcome not in _GOOD:
            facts["error.type"] = outcome
        if known and len(self._outcomes) < MAX_OUTCOMES:
            self._outcomes[ns, cmd, outcome] = facts
        return facts


def _remote(outside: Trace) -> trace.Span:
    found = trace.SpanContext(
        trace_id=int(outside.trace_id, 16),
        span_id=int(outside.span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(outside.flags),
    )
    return trace.NonRecordingSpan(found)


def _enter(inside: trace.SpanContext) -> None:
    if inside.is_valid:
        enter_trace(
            Trace(
                trace_id=trace.format_trace_id(inside.trace_id),
                span_id=trace.format_span_id(inside.span_id),
                flags=int(inside.trace_flags),
            )
        )
