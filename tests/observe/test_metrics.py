from __future__ import annotations

import pytest
import trio
import trio.lowlevel
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from swimring.errors import HandlerFailed
from swimring.observe.metrics import MAX_COMMANDS, OTHER, Metrics
from swimring.service import Request, Service
from swimring.testing import SimulatedNetwork, VirtualClock
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
        metrics.handler_finished("kv", f"matched-{number}", None, "ok", 0.1)
        metrics.handler_finished("kv", "matched-0", None, "ok", 0.1)
    assert count(metrics, "requests_total", service=OTHER, method=OTHER, code="ok") == 10
    assert count(metrics, "requests_total", service="kv", method="matched-0", code="ok") == MAX_COMMANDS + 11


def test_commands_that_nobody_answers_are_one_and_leave_the_room_to_others() -> None:
    metrics = Metrics()
    for number in range(MAX_COMMANDS + 10):
        metrics.handler_finished("kv", f"made-up-{number}", None, "NoSuchHandler", 0.1)
    metrics.handler_finished("kv", "put", None, "ok", 0.1)
    assert count(metrics, "requests_total", service=OTHER, method=OTHER, code="NoSuchHandler") == MAX_COMMANDS + 10
    assert count(metrics, "requests_total", service="kv", method="put", code="ok") == 1


def test_a_handler_is_counted_by_each_outcome_however_often_it_ended_so_before() -> None:
    metrics = Metrics()
    for outcome in ("ok", "cancelled", "ok", "ValueError", "cancelled"):
        metrics.handler_finished("kv", "put", None, outcome, 0.1)
    told = {
        code: count(metrics, "requests_total", service="kv", method="put", code=code) for code in ("ok", "ValueError")
    }
    assert told == {"ok": 2, "ValueError": 1}
    assert count(metrics, "requests_cancelled_total", by="peer") == 2


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
        await trio.sleep(3)
        assert count(metrics, "gossip_packets_total", dir="out", type="ping") > 0
        assert count(metrics, "gossip_packets_total", dir="in", type="ack") > 0
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


@simulated
async def test_keys_with_a_state_are_counted_here_and_on_who_keeps_their_copies(network: SimulatedNetwork) -> None:
    shop, at_a, at_b = Shop(), Metrics(), Metrics()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        at_a.watch(a)
        at_b.watch(b)
        async with a.own(key_of(a, "a"), int, replicas=1) as own:
            await own.checkpoint(7)
            assert count(at_a, "node_owned_keys") == count(at_a, "node_copies") == count(at_b, "node_copies") == 1
            assert count(at_b, "node_owned_keys") == 0
            assert count(at_b, "node_copies_bytes") > 0
        assert count(at_a, "node_owned_keys") == 0
        await trio.sleep(10)
        assert count(at_a, "handoff_in_progress") == count(at_a, "handoff_keys_left") == 0
        assert count(at_a, "handoff_keys_total", result="kept") >= 1
        assert count(at_a, "handoff_duration_seconds_count") >= 1
        assert count(at_a, "handoff_duration_seconds_sum") < 1


@simulated
async def test_copies_that_a_drain_brings_elsewhere_are_counted_by_what_came_of_it(network: SimulatedNetwork) -> None:
    shop, at_a = Shop(), Metrics()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        at_a.watch(a)
        async with a.own(key_of(a, "a"), int) as own:
            await own.checkpoint(7)
        async with trio.open_nursery() as nursery:
            with network.isolate("b"):
                nursery.start_soon(a.drain)
                await trio.sleep(15)
                assert count(at_a, "handoff_keys_total", result="failed") >= 1
                assert count(at_a, "handoff_keys_total", result="brought") == 0
        await trio.sleep(30)
        assert count(at_a, "handoff_keys_total", result="brought") == 1
        assert count(at_a, "handoff_in_progress") == 0
        assert count(at_a, "handoff_duration_seconds_sum") > 1
        assert b.owns("k")


@simulated
async def test_streams_that_wait_for_a_slow_reader_count_the_seconds(network: SimulatedNetwork) -> None:
    service, metrics = Service("slow"), Metrics()

    @service.on("read")
    async def read(request: Request) -> int:
        await trio.sleep(20)
        async with request.streams["text"] as stream:
            return sum([len(chunk) async for chunk in stream])

    async with nodes_at(network, "ab", service, instruments=[metrics]) as (a, _b):
        text = bytes(3_000_000)
        metrics.watch(a)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.call, read.with_streams(text=text), key_of(a, "b"))
            await trio.sleep(10)
            assert (count(metrics, "streams_open"), count(metrics, "streams_blocked")) == (1, 1)
        assert count(metrics, "streams_blocked") == 0
    assert 15 < count(metrics, "stream_blocked_seconds_total") < 25


@simulated
async def test_a_loop_that_was_blocked_for_a_moment_shows_wherever_the_moment_was(network: SimulatedNetwork) -> None:
    metrics, clock = Metrics(), trio.lowlevel.current_clock()
    assert isinstance(clock, VirtualClock)
    async with nodes_at(network, "ab", Shop().service) as (a, _b):
        metrics.watch(a)
        await trio.sleep(5)
        assert count(metrics, "loop_lag_seconds") == 0
        for _ in range(7):
            await trio.sleep(0.11)
            clock.jump(0.5)  # what a handler does that computes, to everybody's timers
            await trio.lowlevel.checkpoint()
        await trio.sleep(0.5)
        assert 0.25 <= count(metrics, "loop_lag_seconds") <= 0.5
        await trio.sleep(20)
        assert count(metrics, "loop_lag_seconds") == 0
