"""The alerts and the dashboard to start from ask for metrics that a node has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from swimring.observe.metrics import Metrics
from swimring.testing import SimulatedNetwork  # noqa: TC001
from tests.node.nodes import Shop, nodes_at, simulated

DEPLOY = Path(__file__).parents[2] / "examples" / "deploy"
ALERTS = re.findall(r"expr: (.*)", (DEPLOY / "alerts.yml").read_text())
BOARD = json.loads((DEPLOY / "grafana.json").read_text())


def asked_for(text: str) -> set[str]:
    plain = set(re.findall(r"\bswimring_[a-z_]+", text)) - {"swimring_requests_"}
    return plain | {f"swimring_requests_{each}_total" for each in ("retried", "forwarded", "orphaned")}


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
