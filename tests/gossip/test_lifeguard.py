"""Lifeguard in whole rounds: what relays report in time costs nobody any health, and who is ill goes slower."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.identity import Address, NodeId
from swimring.swim import (
    Envelope,
    Gossip,
    MemberFailed,
    Nack,
    PingRequest,
    Profile,
    Rumour,
    Status,
    decode_datagram,
    encode_datagram,
    tag_key,
)
from tests.gossip.nodes import PORT, open_cluster, record_of, simulated

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gossip.nodes import Cluster, GossipNode

LAN = Profile.lan()
KEY = tag_key("test")


@pytest.mark.parametrize("profile", [Profile.local(), LAN, Profile.wan()], ids=lambda profile: str(profile.name))
@simulated
async def test_a_real_death_costs_no_bystander_any_health(profile: Profile, seed: int) -> None:
    """The nacks of memberlist's relays come when its prober has stopped counting: every survivor thinks itself ill."""
    async with open_cluster() as cluster:
        *alive, victim = await cluster.start_all(6, profile=profile)
        await trio.sleep(3 * profile.probe_interval)
        scores: list[int] = []

        async def note_health(node: GossipNode) -> None:
            async with node.gossiper.events() as events:
                async for event in events:  # in the moment of the verdict: the next member answers, and heals it
                    scores.append(node.gossiper.statistics().health)
                    if isinstance(event, MemberFailed):
                        return

        async with trio.open_nursery() as nursery:
            for node in alive:
                nursery.start_soon(note_health, node)
            await trio.sleep(0.01)
            cluster.lose(victim)
        assert sum(node.gossiper.statistics().probes_failed for node in alive) > 0
        assert set(scores) == {0}


@simulated
async def test_a_node_in_bad_health_takes_longer_rounds() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(4, profile=LAN)
        for node in nodes[1:]:
            cluster.lose(node)
        await trio.sleep(0.01)
        ends = await ends_of_rounds(4, lambda: nodes[0].gossiper.statistics().probes_failed)
        rounds = [after - before for before, after in itertools.pairwise(ends)]
        assert rounds == pytest.approx([2, 3, 4], abs=0.05), "no relay reports: a point of health after each"


@simulated
async def test_a_node_in_bad_health_waits_longer_between_members_that_answer() -> None:
    async with open_cluster() as cluster:
        node, *_ = await cluster.start_all(3, profile=LAN)
        await ends_of_rounds(1, lambda: node.gossiper.statistics().probes)
        for _ in range(3):  # each time it has to speak up, which costs a point
            node.gossiper.learn([replace(record_of(node, node.name), status=Status.SUSPECT)])
        assert node.gossiper.statistics().health == 3
        ends = await ends_of_rounds(5, lambda: node.gossiper.statistics().probes)
        rounds = [after - before for before, after in itertools.pairwise(ends)]
        assert rounds == pytest.approx([4, 3, 2, 1], abs=0.05), "each answer is a point of health"


@simulated
async def test_a_node_in_bad_health_gives_a_direct_ping_more_time_before_it_asks_relays() -> None:
    async with open_cluster() as cluster:
        node, *others = await cluster.start_all(3, profile=LAN)

        def sent(kind: str) -> int:
            return node.gossiper.statistics().packets.get(("out", kind), 0)

        await ends_of_rounds(1, lambda: sent("Ping"))
        for other in others:
            cluster.lose(other)
        for _ in range(3):
            node.gossiper.learn([replace(record_of(node, node.name), status=Status.SUSPECT)])
        (pinged,) = await ends_of_rounds(1, lambda: sent("Ping"))
        (asked,) = await ends_of_rounds(1, lambda: sent("PingRequest"))
        assert asked - pinged == pytest.approx(4 * LAN.probe_timeout, abs=0.05)


async def ends_of_rounds(count: int, rounds: Callable[[], int]) -> list[float]:
    """When the next ``count`` of those that ``rounds`` counts were over."""
    ends: list[float] = []
    seen = rounds()
    while len(ends) < count:
        await trio.sleep(0.01)
        if rounds() != seen:
            seen = rounds()
            ends.append(trio.current_time())
    return ends


def relaying(cluster: Cluster, since: int) -> tuple[dict[tuple[NodeId, int, NodeId], list[Address]], set[int]]:
    """To whom each question for help went, by who asked, its number, and about whom; and the numbers of the reports."""
    asked, reported = defaultdict(list), set()
    for payload, to in cluster.tapped[since:]:
        envelope = decode_datagram(payload, key=KEY)
        if isinstance(envelope.message, PingRequest):
            asked[envelope.source, envelope.sequence, envelope.message.target].append(to)
        elif isinstance(envelope.message, Nack):
            reported.add(envelope.sequence)
    return dict(asked), reported


@simulated
async def test_a_round_asks_as_many_relays_as_the_profile_says_and_they_report_under_its_number(seed: int) -> None:
    async with open_cluster() as cluster:
        *alive, victim = await cluster.start_all(8, profile=LAN)
        since = len(cluster.tapped)
        cluster.lose(victim)
        await cluster.wait_status(alive, [victim.name], Status.DEAD)
        asked, reported = relaying(cluster, since)
        assert asked
        for (asker, _, target), relays in asked.items():
            assert target.name == victim.name
            assert len(relays) == len(set(relays)) == LAN.indirect_probes
            assert not {asker.name, target.name} & {relay.host for relay in relays}
        assert reported <= {sequence for _, sequence, _ in asked}
        assert reported


@simulated
async def test_what_comes_in_our_own_name_is_not_listened_to() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LAN)
        dead = Rumour(member=replace(record_of(a, b.name), status=Status.DEAD))
        mirror = await cluster.network.at("mirror").bind(Address("mirror", PORT))
        before = a.gossiper.members
        for destination in (a.gossiper.me.id, None):
            said = Envelope(
                source=a.gossiper.me.id, incarnation=9, destination=destination, message=Gossip(), rumours=(dead,)
            )
            await mirror.datagrams.send(encode_datagram(said, key=KEY), a.address)
        await trio.sleep(5)
        assert a.gossiper.members == before
