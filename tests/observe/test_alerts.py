"""The alerts and the dashboard to start from ask for metrics that a node has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from swimring.observe.metrics import Metrics
from swimring.testing import SimulatedNetwork  # noqa: TC001
from tests.node.nodes import Shop, key_of, nodes_at, simulated

PAGE = (Path(__file__).parents[2] / "docs" / "concepts" / "observing.md").read_text()
DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
ALERTS = re.findall(r"expr: (.*)", (DEPLOY / "alerts.yml").read_text())
BOARD = json.loads((DEPLOY / "grafana.json").read_text())


def asked_for(text: str) -> set[str]:
    plain = set(re.findall(r"\bswimring_[a-z_]+", text)) - {"swimring_requests_"}
    return plain | {f"swimring_requests_{each}_total" for each in ("retried", "forwarded", "orphaned")}


def documented() -> dict[str, set[str]]:
    """The metrics that the page on watching lists, and the labels of each."""
    table = PAGE.partition("| name | labels |")[2].partition("\n\n")[0]
    found = {}
    for row in table.splitlines()[2:]:
        names, labels = row.split("|")[1:3]
        found.update(
            {key: set(re.findall(r"`([a-z]+)`", labels)) for key in re.findall(r"`(swimring_[a-z_]+)`", names)}
        )
    return found


def exported(text: str) -> dict[str, set[str]]:
    """The metrics that Prometheus' own parser finds, and the labels of each, the bounds of buckets aside."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if not name.endswith("_created"):
            labels = [set(sample.labels) - {"le"} for sample in family.samples]
            found[name.replace("build", "build_info") if family.type == "info" else name] = set().union(*labels)
    return found


def hear_everything(metrics: Metrics) -> None:
    """What a healthy node does not hear: a metric with labels is not told before there is something to tell."""
    for status in ("suspect", "alive"):
        metrics.member_changed("b", status)
    metrics.bytes_refused("datagram", "key")
    metrics.call_finished("shop", "add", "k", "Unreachable", 0.1)
    metrics.handler_finished("shop", "add", "k", "cancelled", 0.1)
    metrics.handler_finished("shop", "add", "k", "DeadlineExceeded", 0.1)
    metrics.duty_failed("prober", ValueError())


@simulated
async def test_the_page_lists_the_metrics_of_a_node_and_their_labels_and_no_other(network: SimulatedNetwork) -> None:
    metrics, shop = Metrics(), Shop()
    async with nodes_at(network, "ab", shop.service, instruments=[metrics]) as (a, _b):
        metrics.watch(a)
        await a.call(shop.add, key_of(a, "b"), 1)
        hear_everything(metrics)
        assert exported(metrics.text().decode()) == documented()


@simulated
async def test_every_metric_of_the_alerts_and_of_the_dashboard_exists(network: SimulatedNetwork) -> None:
    metrics = Metrics()
    async with nodes_at(network, "a", Shop().service, instruments=[metrics]) as (a,):
        metrics.watch(a)
        text = metrics.text().decode()
    known = set()
    for family in text_string_to_metric_families(text):
        known |= {family.name, f"{family.name}_total", f"{family.name}_bucket", f"{family.name}_count"}
    shown = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    assert len(ALERTS) == 8
    assert asked_for(" ".join([*ALERTS, *shown])) <= known
