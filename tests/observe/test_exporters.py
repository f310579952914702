"""What holds for every exporter: a failing one is dropped and not the node, and a missing package is named."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from swimring.observe import Timeline, Traffic, Trips
from swimring.observe.metrics import Metrics
from swimring.observe.tracing import Tracing
from tests.node.nodes import Shop, node_at, nodes_at, simulated

if TYPE_CHECKING:
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
