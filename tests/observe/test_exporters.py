"""What holds for every exporter: a failing one is dropped and not the node, and a missing package is named."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from prometheus_client.registry import Collector

from swimring.admin.http import Site
from swimring.observe import Timeline, Traffic, Trips
from swimring.observe.metrics import Metrics
from swimring.observe.tracing import Tracing
from tests.admin.test_http import talking
from tests.node.nodes import Shop, key_of, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from swimring.instrument import Instrument
    from swimring.testing import SimulatedNetwork


def broken(kind: type[Instrument]) -> Instrument:
    """One that was not made properly, so that whatever it hears is too much for it."""
    return kind.__new__(kind)


@simulated
@pytest.mark.parametrize("kind", [Metrics, Tracing, Traffic])
async def test_an_exporter_that_fails_is_dropped_and_the_node_goes_on(
    network: SimulatedNetwork, kind: type[Instrument], caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop()
    with caplog.at_level(logging.ERROR, "swimring.instrument"):
        async with nodes_at(network, "a", shop.service, instruments=[broken(kind)]) as (a,):
            assert [await a.call(shop.add, "k", number) for number in range(3)] == [1, 2, 3]
    assert [record.__dict__["event"] for record in caplog.records] == ["instrument.dropped"]
    assert kind.__name__ in caplog.text


@simulated
@pytest.mark.parametrize("kind", [Timeline, Trips])
async def test_an_observer_of_members_that_fails_is_dropped_too(
    network: SimulatedNetwork, kind: type[Instrument], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "swimring.instrument"):
        async with nodes_at(network, "a", Shop().service, instruments=[broken(kind)]) as (a,):
            async with node_at(network, "b", Shop().service, join=["a:7979"]) as b:
                await a.wait_ring("shop", nodes=2)
            assert b is not None
    assert kind.__name__ in caplog.text


class Failing(SpanExporter, Sampler):
    """A collector that is never there, or a sampler that somebody got wrong."""

    def export(self, spans: object) -> SpanExportResult:
        raise ConnectionError("no collector")

    def should_sample(self, *args: object, **kwargs: object) -> SamplingResult:
        raise ZeroDivisionError("no sample")

    def get_description(self) -> str:
        return "failing"


@simulated
async def test_a_collector_that_is_not_there_costs_spans_and_no_calls(
    network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    shop, provider = Shop(), TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Failing()))
    async with nodes_at(network, "ab", shop.service, instruments=[Tracing(tracer_provider=provider)]) as (a, _b):
        assert [await a.call(shop.add, key_of(a, "b"), number) for number in range(3)] == [1, 2, 3]
        assert a._instruments.traced, "the exporter fails by itself; what makes the spans goes on"
    assert "no collector" in caplog.text


@simulated
async def test_a_sampler_that_fails_is_dropped_with_the_tracing_and_not_the_call(
    network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    shop, provider = Shop(), TracerProvider(sampler=Failing(), resource=Resource({}), shutdown_on_exit=False)
    async with nodes_at(network, "ab", shop.service, instruments=[Tracing(tracer_provider=provider)]) as (a, _b):
        assert [await a.call(shop.add, key_of(a, "b"), number) for number in range(3)] == [1, 2, 3]
        assert not a._instruments.traced
    dropped = [one for one in caplog.records if getattr(one, "event", "") == "instrument.dropped"]
    assert len(dropped) == 2  # by each of the nodes


@simulated
async def test_metrics_that_cannot_be_told_are_an_error_of_their_page_and_nothing_else(
    network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Collector):
        def collect(self) -> Iterator[Metric]:
            raise ZeroDivisionError("no numbers")

        def describe(self) -> list[Metric]:
            return []

    shop, site = Shop(), Site(metrics := Metrics())
    metrics._registry.register(Broken())
    instruments = site.instruments
    async with nodes_at(network, "a", shop.service, instruments=instruments) as (a,), talking(site.answer) as talk:
        site.show(a)
        for path, status in (("/metrics", 500), ("/readyz", 200)):
            await talk.ask(path)
            assert (await talk.response())[0] == status
            talk.http.start_next_cycle()
        assert await a.call(shop.add, "k", 1) == 2
    assert "no numbers" in caplog.text


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("swimring.observe.metrics", "prometheus_client", "swimring[metrics]"),
        ("swimring.observe.tracing", "opentelemetry", "swimring[tracing]"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(module: str, package: str, extra: str) -> None:
    program = f"import sys; sys.modules[{package!r}] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert extra in done.stderr.splitlines()[-1]
