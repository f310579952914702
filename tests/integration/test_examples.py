"""The numbered examples run, and show what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.observe.collecting import receiving

ROOT = Path(__file__).parents[2]


def shown(example: str, *arguments: str) -> list[str]:
    """What an example prints, line by line."""
    done = subprocess.run(
        [sys.executable, f"examples/{example}", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_an_example_yields_talks_and_hands_streams_over() -> None:
    assert shown("01_streams.py", "--every", "0.01") == [
        "tick 0 from right",
        "tick 1 from right",
        "tick 2 from right",
        "   the clock on right has stopped after 3 ticks",
        "that call was cancelled",
        "ring is gnir",
        "swim is miws",
        "2 words",
        "3 days: [0, 1, 2]",
    ]


def test_a_room_and_who_listens_to_it_follow_the_ring() -> None:
    assert shown("chat_room.py") == ["ada: hello", "bob: this node leaves now", "ada: still here"]


def test_an_owner_that_was_replaced_writes_nothing() -> None:
    assert shown("fenced_table.py") == ["right: 10", "left: 15", "right, too late: refused", "left: 16"]


def test_the_spans_of_a_call_over_two_nodes_and_back_reach_a_collector_and_zipkin_each_attempt_its_own() -> None:
    with receiving() as received:
        said = shown("tracing.py", "--otlp", received.otlp_url, "--zipkin", received.zipkin_url)
    assert [line.partition(":")[0] for line in said] == [
        "from left to right and back",
        "tried again when right had ended",
    ]
    kinds = {Span.SPAN_KIND_INTERNAL: "call", Span.SPAN_KIND_CLIENT: "attempt", Span.SPAN_KIND_SERVER: "handler"}
    spans = {span.span_id: (node, kinds[span.kind], span.name, span) for node, span in received.spans()}

    def path(span: Span) -> list[tuple[str, str, str]]:
        above = path(spans[span.parent_span_id][3]) if span.parent_span_id else []
        return [*above, spans[span.span_id][:3]]

    longest = max((path(span) for *_, span in spans.values()), key=len)
    assert longest == [
        ("left", "call", "shop/checkout"), ("left", "attempt", "shop/checkout"), ("right", "handler", "shop/checkout"),
        ("right", "call", "shop/price"), ("right", "attempt", "shop/price"), ("left", "handler", "shop/price"),
    ]  # fmt: skip
    attempts = [
        span for node, kind, name, span in spans.values() if (node, kind, name) == ("left", "attempt", "shop/price")
    ]
    attempts.sort(key=lambda span: span.start_time_unix_nano)
    ends = [(facts(span)["swimring.peer"], facts(span)["rpc.response.status_code"]) for span in attempts]
    assert (ends[0], ends[-1]) == (("right", "ConnectionLost"), ("left", "ok"))
    assert {end for _, end in ends[1:-1]} <= {"Unreachable"}
    assert len({span.parent_span_id for span in attempts}) == len({span.trace_id for span in attempts}) == 1
    check_zipkin(received.zipkin, [(node, span) for node, _, _, span in spans.values()])


def facts(span: Span) -> dict[str, str]:
    return {fact.key: fact.value.string_value for fact in span.attributes}


def check_zipkin(told: list[dict[str, Any]], spans: list[tuple[str, Span]]) -> None:
    """What Zipkin was told is what its format allows, and the same as the collector was told."""
    kinds = {Span.SPAN_KIND_INTERNAL: None, Span.SPAN_KIND_CLIENT: "CLIENT", Span.SPAN_KIND_SERVER: "SERVER"}
    for one in told:
        assert re.fullmatch("[0-9a-f]{32}", one["traceId"])
        assert re.fullmatch("[0-9a-f]{16}", one["id"])
        assert isinstance(one["timestamp"], int)
        assert isinstance(one["duration"], int)
        assert one["duration"] > 0
        assert all(isinstance(value, str) for value in one["tags"].values())
        assert ("error" in one["tags"]) == (one["tags"]["rpc.response.status_code"] not in {"ok", "cancelled"})
    here = {
        (
            one["traceId"],
            one.get("parentId", ""),
            one["id"],
            one["name"],
            one.get("kind"),
            one["localEndpoint"]["serviceName"],
        )
        for one in told
    }
    there = {
        (span.trace_id.hex(), span.parent_span_id.hex(), span.span_id.hex(), span.name, kinds[span.kind], node)
        for node, span in spans
    }
    assert here == there


def test_an_example_whose_packages_are_missing_says_which_extra_brings_them() -> None:
    program = "import sys, runpy; sys.modules['opentelemetry'] = None; runpy.run_path('examples/tracing.py')"
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert done.returncode != 0
    assert "swimring[examples]" in done.stderr.decode().splitlines()[-1]
