"""What a node counts, as Prometheus metrics: an `Instrument` that counts, and gauges that are read when asked for.

Labels are names of services, commands, outcomes and states, never keys: what a caller can make up is bounded by
`MAX_COMMANDS`, so that nobody can fill a monitor with names.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from swimring.errors import MissingExtra
from swimring.instrument import Instrument

try:
    from prometheus_client import CollectorRegistry, Counter, Histogram
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
        Metric,
        SummaryMetricFamily,
    )
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise MissingExtra("metrics", "prometheus-client") from missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from swimring.identity import Key
    from swimring.node import NodeStatistics
    from swimring.ownership import OwnershipStatistics

MAX_COMMANDS: Final = 1_000
"""Pairs of service and command that are told apart; the rest, and what no handler answers, counts as `OTHER`."""
MAX_OUTCOMES: Final = 4 * MAX_COMMANDS
"""Of these pairs with an outcome, how many counters are kept at hand."""
OTHER: Final = "other"
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histograms' buckets."""

_REASONS: Final = frozenset({"cluster", "key", "replay", "sealed", "unsealed", "version", "oversized"})
"""Reasons for refusals that say something about the cluster; all others are bytes that make no sense."""
_GOOD: Final = frozenset({"ok", "cancelled"})


class Watched(Protocol):
    """The node whose gauges are read."""

    def statistics(self) -> NodeStatistics:
        """How it is, at this moment."""


class Metrics(Instrument):
    """Give it to ``open_node(instruments=[metrics])``, let it `watch` the node, and serve its `text`."""

    content_type: Final = CONTENT_TYPE_PLAIN_1_0_0
    """The media type of `text`."""

    def __init__(self) -> None:
        """Everything is 0, and no node is watched.

        Raises:
            MissingExtra: by the import of this module; the package ``prometheus-client`` is not installed.
        """
        self._registry = CollectorRegistry(auto_describe=False)
        self._commands: set[tuple[str, str]] = set()
        self._statuses: dict[str, str] = {}

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"swimring_{name}", text, labels, registry=self._registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"swimring_{name}", text, labels, buckets=SECONDS, registry=self._registry)

        self._flaps = counter("member_flaps", "Members believed suspect or dead that turned out to be alive.")
        self._suspicions = counter("gossip_suspicions", "Suspicions that ended.", "outcome")
        self._rtt = histogram("gossip_probe_rtt_seconds", "Round trips of probes that reached their member.")
        self._rejected = counter("gossip_rejected", "Bytes that were refused.", "port", "reason")
        self._outcomes: dict[tuple[str, str, str], Callable[[], None]] = {}
        self._requests = counter("requests", "Calls handled here.", "service", "method", "code")
        seconds = histogram("request_duration_seconds", "Calls made here (client) and handled here.", "side")
        self._calling, self._handling = seconds.labels("client").observe, seconds.labels("server").observe
        self._retried = counter("requests_retried", "Attempts of calls made here beyond the first.")
        self._failed = counter("requests_failed", "Calls made here that failed.", "code")
        self._cancelled = counter("requests_cancelled", "Calls given up by who made them.", "by")
        self._orphaned = counter("requests_orphaned", "Calls given up here whose handler did not end in time.")
        self._late = counter("requests_deadline_exceeded", "Calls whose deadline passed.", "where")
        self._forwarded = counter("requests_forwarded", "Calls handed on for callers who cannot reach the owner.")
        self._blocked = counter("stream_blocked_seconds", "Seconds that streams waited for slower readers.")
        self._closed = counter("connections_closed", "Connections to peers that ended.")
        self._duties = counter("duties_failed", "Background duties that crashed and were restarted.", "duty")

    def watch(self, node: Watched) -> None:
        """Read the gauges of ``node`` whenever the text is asked for; one node for each `Metrics`."""
        self._registry.register(_Gauges(node))

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self._registry)

    # --------------------------------------------------------------------------------------------- what happens

    def member_changed(self, name: str, status: str) -> None:
        """A suspicion ended, or a member came back."""
        before = self._statuses.pop(name, None)
        if status != "forgotten":
            self._statuses[name] = status
        if before == "suspect" and status in {"alive", "dead"}:
            self._suspicions.labels("refuted" if status == "alive" else "confirmed").inc()
        if before in {"suspect", "dead"} and status == "alive":
            self._flaps.inc()

    def probe_finished(self, name: str, rtt: float | None) -> None:
        """One more round trip."""
        if rtt is not None:
            self._rtt.observe(rtt)

    def bytes_refused(self, port: str, reason: str) -> None:
        """One more refusal, for one of few reasons."""
        self._rejected.labels(port, reason if reason in _REASONS else "malformed").inc()

    def connection_closed(self, peer: str, reason: str) -> None:
        """One more."""
        self._closed.inc()

    def call_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """One more call of ours."""
        self._calling(seconds)
        if outcome != "ok":
            if outcome not in _GOOD:
                self._failed.labels(outcome).inc()
            self._count_end(outcome, caller="caller")

    def call_retried(self, ns: str, cmd: str, key: Key | None, reason: str) -> None:
        """One more attempt."""
        self._retried.inc()

    def call_forwarded(self, ns: str, cmd: str, key: Key | None, owner: str) -> None:
        """One more for somebody else."""
        self._forwarded.inc()

    def stream_blocked(self, seconds: float) -> None:
        """One more wait for credit."""
        self._blocked.inc(seconds)

    def call_orphaned(self, ns: str, cmd: str, key: Key | None, owner: str) -> None:
        """One more orphan."""
        self._orphaned.inc()

    def handler_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """One more call of somebody's."""
        count = self._outcomes.get((ns, cmd, outcome))
        if count is None:
            count = self._name(ns, cmd, outcome)
        count()
        self._handling(seconds)
        if outcome != "ok":
            self._count_end(outcome, caller="peer")

    def duty_failed(self, duty: str, error: BaseException) -> None:
        """One more crash."""
        self._duties.labels(duty).inc()

    def _count_end(self, outcome: str, *, caller: str) -> None:
        if outcome == "cancelled":
            self._cancelled.labels(caller).inc()
        elif outcome == "DeadlineExceeded":
            self._late.labels("caller" if caller == "caller" else "handler").inc()

    def _name(self, ns: str, cmd: str, outcome: str) -> Callable[[], None]:
        """What counts a call that ended so. It is remembered: to find it by its labels costs more than to count."""
        known = (ns, cmd) in self._commands
        if not known and len(self._commands) < MAX_COMMANDS and outcome != "NoSuchHandler":
            self._commands.add((ns, cmd))
            known = True
        count = self._requests.labels(*((ns, cmd) if known else (OTHER, OTHER)), outcome).inc
        if known and len(self._outcomes) < MAX_OUTCOMES:
            self._outcomes[ns, cmd, outcome] = count
        return count


class _Gauges(Collector):
    """What is true of a node at the moment it is asked."""

    def __init__(self, node: Watched) -> None:
        self._node = node

    def describe(self) -> list[Metric]:
        """None: the names depend on the node, and asking it now would be too early."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the node once."""
        now = self._node.statistics()
        gossip = now.gossip
        under_way = {"client": now.calls.calling, "server": now.calls.handling}
        statuses = {"alive": gossip.alive, "suspect": gossip.suspect, "dead": gossip.dead, "left": gossip.left}
        yield _gauge("members", "Members as this node believes them to be.", statuses, label="state")
        yield _gauge("node_health_score", "Local health; 0 is good.", gossip.health)
        yield _gauge("loop_lag_seconds", "How late the timers of this process are.", now.lag)
        yield _packets(gossip.packets)
        yield _count("gossip_bytes", "Bytes of the datagrams.", {"in": gossip.bytes_received, "out": gossip.bytes_sent})
        yield _gauge("node_owned_ratio", "Share of the ring of a service.", now.owned, label="service")
        yield _gauge("ring_nodes", "Nodes on the ring of a service.", now.ring_nodes, label="service")
        yield _gauge("ring_version", "A number that is equal on nodes that agree about every key.", now.ring_version)
        if now.ownership is not None:
            yield from _keys(now.ownership)
        yield _gauge("connections", "Connections to peers.", now.calls.connections)
        yield _gauge("streams_open", "Streams of all connections.", now.calls.streams)
        yield _gauge("streams_blocked", "Streams that wait until they may send.", now.calls.blocked)
        yield _gauge("requests_in_flight", "Calls under way.", under_way, label="side")
        facts = {"version": now.version, "python": platform.python_version(), "trio": now.trio_version}
        yield InfoMetricFamily("swimring_build", "What runs here.", facts)


def _gauge(name: str, text: str, value: float | Mapping[str, float], label: str = "") -> Metric:
    if not isinstance(value, Mapping):
        return GaugeMetricFamily(f"swimring_{name}", text, value)
    family = GaugeMetricFamily(f"swimring_{name}", text, labels=[label])
    for key, number in value.items():
        family.add_metric([key], number)
    return family


def _packets(packets: Mapping[tuple[str, str], int]) -> Metric:
    family = CounterMetricFamily("swimring_gossip_packets", "Datagrams, by what they say.", labels=["dir", "type"])
    for (direction, kind), number in packets.items():
        family.add_metric([direction, kind.lower()], number)
    return family


def _keys(now: OwnershipStatistics) -> Iterator[Metric]:
    """What is known of keys with a state; others are nobody's to count."""
    yield _gauge("node_owned_keys", "Keys that are open here.", now.scopes)
    yield _gauge("node_copies", "Keys whose state is here, of owners and of replicas.", now.copies)
    yield _gauge("node_copies_bytes", "What these states take.", now.copy_bytes)
    yield _gauge("handoff_keys_left", "Keys whose copies may still be missing on other nodes.", now.keys_left)
    yield _gauge("handoff_in_progress", "Whether there are any.", int(now.keys_left > 0))
    yield _count("handoff_keys", "Copies due at other nodes, by what came of it.", now.handed_off, label="result")
    yield CounterMetricFamily("swimring_handoff_bytes", "What copies that were sent took.", now.bytes_sent)
    took = SummaryMetricFamily("swimring_handoff_duration_seconds", "Hand-offs, from the first key due to none.")
    took.add_metric([], count_value=now.hand_offs, sum_value=now.hand_off_seconds)
    yield took


def _count(name: str, text: str, values: Mapping[str, int], label: str = "dir") -> Metric:
    family = CounterMetricFamily(f"swimring_{name}", text, labels=[label])
    for key, number in values.items():
        family.add_metric([key], number)
    return family
