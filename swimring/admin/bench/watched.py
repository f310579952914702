"""A node that chosen observers watch: ``python -m swimring.admin.bench.watched WHO TARGET …``, started by a bench."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import trio

from swimring.admin.fleet import open_supervision
from swimring.admin.loading import load_services
from swimring.errors import MissingExtra
from swimring.node import open_node

if TYPE_CHECKING:
    from swimring.instrument import Instrument


def observers(who: str) -> list[Instrument]:
    """Those of that name.

    Raises:
        MissingExtra: what they need is not installed.
    """
    match who:
        case "metrics":
            from swimring.observe.metrics import Metrics  # noqa: PLC0415 - optional

            return [Metrics()]
        case "tracing" | "sampled":
            return [_tracing(sampled=who == "sampled")]
        case _:
            return []


def _tracing(*, sampled: bool) -> Instrument:
    from swimring.observe.tracing import Tracing  # noqa: PLC0415 - optional

    try:
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - the same
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415 - the same
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider  # noqa: PLC0415 - the same
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON  # noqa: PLC0415 - the same
    except ImportError as missing:
        raise MissingExtra("tracing", "opentelemetry-sdk") from missing
    provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
    provider.add_span_processor(SpanProcessor())  # one that does nothing: what an exporter sends is its own cost
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    return Tracing(tracer_provider=provider, meter_provider=meters)


async def _serve(said: argparse.Namespace) -> None:
    over = trio.Event()
    async with (
        open_supervision(supervised=True, leave=over.set) as owner,
        open_node(
            *load_services(said.target),
            cluster=said.cluster,
            name=said.name,
            listen=said.listen,
            join=[said.join],
            instruments=observers(said.who),
        ) as node,
    ):
        await owner.tell_serving(name=node.name, address=str(node.me.address), url=None)
        await over.wait()


def main() -> None:
    """Serve until the owner is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("who")
    parser.add_argument("target")
    for option in ("--cluster", "--name", "--listen", "--join"):
        parser.add_argument(option, required=True)
    trio.run(_serve, parser.parse_args())


if __name__ == "__main__":
    main()
