from __future__ import annotations

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from swimring.errors import HandlerFailed
from swimring.observe.metrics import MAX_COMMANDS, OTHER, Metrics
from swimring.testing import SimulatedNetwork  # noqa: TC001
from tests.node.nodes import Shop, key_of, nodes_at, simulated


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What Prometheus itself reads out of the text: name and labels to value."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def count(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics).get((f"swimring_{name}", tuple(sorted(labels.items()))), 0.0)


def test_a_suspicion_that_ends_alive_was_refuted_and_is_a_flap() -> None:
    metrics = Metrics()
    for status in ("alive", "suspect", "alive"):
        metrics.member_changed("b", status)
    assert count(metrics, "gossip_suspicions_total", outcome="refuted") == 1
    assert count(metrics, "gossip_suspicions_total", outcome="confirmed") == 0
    assert count(metrics, "member_flaps_total") == 1


def test_a_suspicion_that_ends_dead_was_confirmed_and_a_return_from_the_dead_is_a_flap() -> None:
    metrics = Metrics()
    for status in ("suspect", "dead"):
        metrics.member_changed("b", status)
    assert count(metrics, "gossip_suspicions_total", outcome="confirmed") == 1
    assert count(metrics, "member_flaps_total") == 0
    metrics.member_changed("b", "alive")
    assert count(metrics, "member_flaps_total") == 1


def test_a_member_that_was_forgotten_is_new_when_it_comes_back() -> None:
    metrics = Metrics()
    for status in ("dead", "forgotten", "alive"):
        metrics.member_changed("b", status)
    assert count(metrics, "member_flaps_total") == 0


def test_calls_count_by_service_command_and_outcome_and_never_by_key() -> None:
    metrics = Metrics()
    metrics.handler_finished("kv", "put", "secret-key", "ok", 0.02)
    metrics.handler_finished("kv", "put", "other-key", "HandlerFailed", 0.02)
    metrics.call_finished("kv", "put", "secret-key", "Unreachable", 0.5)
    metrics.call_retried("kv", "put", "secret-key", "refused")
    metrics.call_orphaned("kv", "put", "secret-key", "b")
    assert count(metrics, "requests_total", service="kv", method="put", code="ok") == 1
    assert count(metrics, "requests_total", service="kv", method="put", code="HandlerFailed") == 1
    assert count(metrics, "requests_failed_total", code="Unreachable") == 1
    assert count(metrics, "request_duration_seconds_count", side="server") == 2
    assert count(metrics, "request_duration_seconds_bucket", side="client", le="0.5") == 1
    assert count(metrics, "request_duration_seconds_bucket", side="client", le="0.25") == 0
    assert count(metrics, "requests_retried_total") == 1
    assert count(metrics, "requests_orphaned_total") == 1
    assert b"secret-key" not in metrics.text()


def test_who_gave_a_call_up_and_where_a_deadline_passed_are_told_apart() -> None:
    metrics = Metrics()
    metrics.call_finished("kv", "put", None, "cancelled", 0.1)
    metrics.handler_finished("kv", "put", None, "cancelled", 0.1)
    metrics.handler_finished("kv", "put", None, "DeadlineExceeded", 0.1)
    assert count(metrics, "requests_cancelled_total", by="caller") == 1
    assert count(metrics, "requests_cancelled_total", by="peer") == 1
    assert count(metrics, "requests_deadline_exceeded_total", where="handler") == 1
    assert count(metrics, "requests_deadline_exceeded_total", where="caller") == 0


def test_commands_that_somebody_makes_up_are_told_apart_up_to_a_bound() -> None:
    metrics = Metrics()
    for number in range(MAX_COMMANDS + 10):
        metrics.handler_finished("kv", f"made-up-{number}", None, "NoSuchHandler", 0.1)
    assert count(metrics, "requests_total", service=OTHER, method=OTHER, code="NoSuchHandler") == 10


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("cluster", "cluster"),
        ("key", "key"),
        ("replay", "replay"),
        ("truncated", "malformed"),
        ("the frame of 9 bytes for stream 7 has 'anything' in it", "malformed"),
    ],
)
def test_refused_bytes_count_under_few_reasons_whatever_they_quote(reason: str, kind: str) -> None:
    metrics = Metrics()
    metrics.bytes_refused("datagram", reason)
    assert count(metrics, "gossip_rejected_total", port="datagram", reason=kind) == 1


@simulated
async def test_the_gauges_tell_how_the_node_is_when_they_are_read(network: SimulatedNetwork) -> None:
    shop, metrics, other = Shop(), Metrics(), Metrics()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        metrics.watch(a)
        other.watch(b)
        assert count(metrics, "members", state="alive") == 2
        assert count(metrics, "node_owned_ratio", service="shop") == a.ring(shop.service).share()["a"]
        assert count(metrics, "ring_nodes", service="shop") == 2
        assert count(metrics, "ring_version") == count(other, "ring_version") != 0
        assert count(metrics, "gossip_packets_total", dir="out") > 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.call, shop.nap, key_of(a, "b"), 1.0)
            nursery.start_soon(a.call, shop.nap, key_of(a, "a"), 1.0)
            await trio.sleep(0.5)
            assert count(metrics, "connections") == 1
            assert count(metrics, "requests_in_flight", side="client") == 2
            assert count(metrics, "requests_in_flight", side="server") == 1
            assert count(other, "requests_in_flight", side="server") == 1
        assert count(metrics, "requests_in_flight", side="client") == 0


@simulated
async def test_a_node_tells_its_metrics_what_happens(network: SimulatedNetwork) -> None:
    shop, metrics = Shop(), Metrics()
    async with nodes_at(network, "a", shop.service, instruments=[metrics]) as (a,):
        await a.call(shop.add, "k", 1)
        with pytest.raises(HandlerFailed):
            await a.call(shop.fail, "k", "no")
    assert count(metrics, "requests_total", service="shop", method="add", code="ok") == 1
    assert count(metrics, "requests_total", service="shop", method="fail", code="ZeroDivisionError") == 1
    assert count(metrics, "requests_failed_total", code="HandlerFailed") == 1
