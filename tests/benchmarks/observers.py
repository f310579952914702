"""What watching costs: CPU for each call between two nodes of one process, by who watches, side by side in one run.

``nox -s bench -- observers``; ``--rounds N --calls N`` measures longer. All set-ups take turns, round by round, so that
what else the machine does meets all of them. CPU time of the process, caller and handler together.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import argparse
import functools
import statistics
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from swimring.node import open_node
from swimring.observe.metrics import Metrics
from swimring.observe.tracing import Tracing
from swimring.service import Request, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.instrument import Instrument
    from swimring.node import Node

IN_FLIGHT = 16

app = Service("bench")


@app.on("echo", idempotent=True)
async def echo(request: Request, text: str) -> str:
    return text


class Dropping(SpanProcessor):
    """As cheap as a processor can be."""


def tracing(*, sampled: bool, histograms: bool = False) -> Tracing:
    provider = TracerProvider() if sampled else TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(Dropping())
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()]) if histograms else NoOpMeterProvider()
    return Tracing(tracer_provider=provider, meter_provider=meters)


SETUPS: dict[str, Callable[[], list[Instrument]]] = {
    "nobody": list,
    "metrics": lambda: [Metrics()],
    "tracing, not sampled": lambda: [tracing(sampled=False)],
    "the same, with histograms": lambda: [tracing(sampled=False, histograms=True)],
    "tracing, sampled": lambda: [tracing(sampled=True)],
    "the same, with histograms, metrics": lambda: [Metrics(), tracing(sampled=True, histograms=True)],
}


async def call_many(node: Node, key: str, calls: int) -> None:
    for _ in range(calls):
        await node.call(echo, key, "hello")


async def measure(node: Node, key: str, calls: int) -> float:
    """Microseconds of CPU for one call."""
    began = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(IN_FLIGHT):
            nursery.start_soon(call_many, node, key, calls // IN_FLIGHT)
    return (time.process_time() - began) / (calls // IN_FLIGHT * IN_FLIGHT) * 1e6


async def main(rounds: int, calls: int) -> None:
    async with AsyncExitStack() as stack:
        callers: dict[str, tuple[Node, str]] = {}
        for number, (name, instruments) in enumerate(SETUPS.items()):
            opened = functools.partial(open_node, app, cluster=f"observers-{number}", listen="127.0.0.1:0")
            watching = instruments()
            a = await stack.enter_async_context(opened(name="a", join=["127.0.0.1:1"], instruments=watching))
            b = await stack.enter_async_context(opened(name="b", join=[str(a.me.address)], instruments=watching))
            await a.wait_ring(app, nodes=2)
            callers[name] = (a, next(key for key in map(str, range(1000)) if b.owns(key)))
        took: dict[str, list[float]] = {name: [] for name in callers}
        for _ in range(rounds + 1):
            for name, (node, key) in callers.items():
                took[name].append(await measure(node, key, calls))
    bare = statistics.median(took["nobody"][1:])
    print(f"CPU of a call, caller and handler, {IN_FLIGHT} in flight, median of {rounds} rounds of {calls} calls:")
    for name, each in took.items():
        middle = statistics.median(each[1:])  # the first round warms up
        print(f"  {name:36} {middle:7.1f} us  {middle / bare:5.2f} x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=2_000)
    trio.run(main, *vars(parser.parse_args()).values())
