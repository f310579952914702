"""A process that dies is known at once although nobody calls it: each member is watched over one idle connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.swim import Status
from swimring.testing import PASS, Packet, PacketKind, Verdict, open_sim_cluster, run_simulation
from swimring.testing.leftovers import leftovers

from .leftovers import connections

if TYPE_CHECKING:
    from swimring.testing import SimCluster, SimNode

QUIET = 3.0
"""Seconds after which nobody dials, or hangs up, any more."""


def test_a_killed_process_that_nobody_calls_is_known_everywhere_in_half_a_second(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            nodes = await _quiet_cluster(cluster, 10)
            victim = nodes[seed % 10]
            victim.crash()
            await trio.sleep(0.5)
            assert [_status(node, victim) for node in cluster.running] == [Status.DEAD] * 9

    run_simulation(scenario, seed=seed)


def test_neighbours_that_die_together_are_known_one_after_the_other(seed: int) -> None:
    """Nobody is left who watched the second one: it is found when the watch moves on to it."""

    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            await _quiet_cluster(cluster, 10)
            ring = sorted(cluster.running, key=lambda node: node.name)
            victims = [ring[(seed + offset) % 10] for offset in range(3)]
            for victim in victims:
                victim.crash()
            await trio.sleep(2.0)
            for node in cluster.running:
                assert [_status(node, victim) for victim in victims] == [Status.DEAD] * 3

    run_simulation(scenario, seed=seed)


def test_each_node_holds_one_connection_to_the_next_name_and_no_other(seed: int) -> None:
    """Also after members came, died, came back and left."""

    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            nodes = await _quiet_cluster(cluster, 6)
            _check_watches(cluster)
            nodes[seed % 6].crash()
            await trio.sleep(QUIET)
            _check_watches(cluster)
            await nodes[seed % 6].restart()
            await trio.sleep(QUIET)
            _check_watches(cluster)
            await nodes[(seed + 2) % 6].drain()
            await cluster.start(4)
            await trio.sleep(QUIET)
            _check_watches(cluster)
            assert not [what for node in cluster.running for what in leftovers(node)]

    run_simulation(scenario, seed=seed)


def test_a_connection_with_calls_stays_when_the_watch_moves_on(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            one, two = await _quiet_cluster(cluster, 2)
            (before,) = connections(one)
            await one.node.peer(two.name).request({"ns": "swimring", "cmd": "info"})
            await cluster.start(9)  # n10 and n11 stand between n1 and n2
            await trio.sleep(QUIET)
            assert before in connections(one)
            assert before.usable

    run_simulation(scenario, seed=seed)


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_a_stopped_process_is_not_hurt_by_those_that_watch_it(seed: int, seconds: float) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            nodes = await _quiet_cluster(cluster, 10)
            victim = nodes[seed % 10]
            victim.pause()
            await trio.sleep(seconds)
            victim.resume()
            await trio.sleep(20)
            assert _failures(cluster) == []
            _check_watches(cluster)

    run_simulation(scenario, seed=seed)


def test_losing_datagrams_and_nothing_else_kills_nobody(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            await _quiet_cluster(cluster, 10)
            with cluster.network.loss(0.05):
                await trio.sleep(60)
            assert _failures(cluster) == []

    run_simulation(scenario, seed=seed)


class FirewallBetween:
    """One host is refused every connection to another, as by a firewall; each attempt is judged and counted twice."""

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        self.attempts = 0

    def judge(self, packet: Packet) -> Verdict:
        if (packet.source, packet.target, packet.kind) != (self.source, self.target, PacketKind.HANDSHAKE):
            return PASS
        self.attempts += 1
        return Verdict(refused=True)


def test_a_neighbour_that_only_datagrams_reach_is_tried_ever_less_often_and_lives(seed: int) -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            _, two, _ = await _quiet_cluster(cluster, 3)
            await two.drain()
            firewall = FirewallBetween("n1", "n2")
            with cluster.inject(firewall):
                await two.restart()
                await trio.sleep(120)
            assert firewall.attempts < 80  # with a second between two dials it would be 400
            assert _failures(cluster) == []

    run_simulation(scenario, seed=seed)


async def _quiet_cluster(cluster: SimCluster, size: int) -> list[SimNode]:
    nodes = await cluster.start(size)
    await cluster.settled()
    await trio.sleep(QUIET)
    return nodes


def _status(node: SimNode, of: SimNode) -> Status:
    return next(member.status for member in node.node.members if member.name == of.name)


def _check_watches(cluster: SimCluster) -> None:
    names = sorted(node.name for node in cluster.running)
    expected = {frozenset(pair) for pair in zip(names, [*names[1:], names[0]], strict=True)}
    held = [frozenset((node.name, one.peer_name)) for node in cluster.running for one in connections(node)]
    assert set(held) == expected
    assert len(held) == 2 * len(expected)


def _failures(cluster: SimCluster) -> list[str]:
    return [
        event.text for node in cluster.nodes for event in cluster.history.events(node.name) if "failed" in event.text
    ]
