"""Who is taken for dead is told, so that it can say that it lives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import trio

from swimring.identity import Address, NodeId
from swimring.swim import (
    Envelope,
    Gossip,
    Message,
    Metadata,
    Ping,
    Profile,
    Status,
    decode_datagram,
    encode_datagram,
    tag_key,
)
from tests.gossip.nodes import Cluster, GossipNode, open_cluster, simulated

LOCAL = Profile.local()
KEY = tag_key("test")


def told_their_death(cluster: Cluster, since: int) -> Counter[str]:
    """To whom nodes said, in datagrams that say nothing else, that it is dead."""
    told: Counter[str] = Counter()
    for payload, to in cluster.tapped[since:]:
        envelope = decode_datagram(payload, key=KEY)
        if isinstance(envelope.message, Gossip) and any(
            rumour.member.address == to and rumour.member.status is Status.DEAD for rumour in envelope.rumours
        ):
            told[to.host] += 1
    return told


@simulated
async def test_whoever_declares_a_member_dead_tells_it_once() -> None:
    # One node is cut off and finds everybody dead by itself; gossip to the dead would meet hardly any of them.
    lonely = replace(LOCAL, gossip_fanout=1, gossip_to_dead=1e-6)
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(6, profile=lonely)
        others = {node.name for node in nodes[1:]}
        for node in nodes[1:]:
            node.scope.cancel()
            cluster.network.freeze(node.name)
        since = len(cluster.tapped)
        await nodes[0].wait_sees(others, Status.DEAD)
        await trio.sleep(5)
        assert set(told_their_death(cluster, since)) == others
        assert max(told_their_death(cluster, since).values()) <= 2, "once, and once by chance"


async def say_as(node: GossipNode, message: Message, cluster: Cluster, *, to: GossipNode, host: str) -> None:
    """A datagram of ``node``, of whom nothing is left, as if it had been on its way for long."""
    said = Envelope(source=NodeId(node.name, 1), incarnation=1, destination=to.gossiper.me.id, message=message)
    binding = await cluster.network.at(host).bind(Address(host, 1))
    await binding.datagrams.send(encode_datagram(said, key=KEY), to.address)
    binding.close()
    await trio.sleep(0.01)


@simulated
async def test_a_message_of_a_dead_member_is_contradicted_at_most_once_a_second() -> None:
    async with open_cluster() as cluster:
        a, _, dead = nodes = await cluster.start_all(3, profile=LOCAL)
        cluster.lose(dead)
        await cluster.wait_status(nodes[:2], [dead.name], Status.DEAD)
        await trio.sleep(2 * LOCAL.gossip_to_dead)
        since = len(cluster.tapped)
        for number in range(20):
            await say_as(dead, Gossip(), cluster, to=a, host=f"x{number}")
        assert told_their_death(cluster, since) == {dead.name: 1}
        await trio.sleep(1)
        await say_as(dead, Gossip(), cluster, to=a, host="y")
        assert told_their_death(cluster, since) == {dead.name: 2}
        await trio.sleep(1)
        await say_as(dead, Ping(), cluster, to=a, host="z")
        assert told_their_death(cluster, since) == {dead.name: 2}, "an ack goes to where the ping came from"


@simulated
async def test_the_recently_dead_hear_gossip_and_the_long_dead_do_not() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(3, profile=LOCAL)
        dead = nodes.pop()
        cluster.lose(dead)
        await cluster.wait_status(nodes, [dead.name], Status.DEAD)
        heard = []
        for weight in (2, 3):
            await cluster.settle(nodes)
            await trio.sleep(2)
            since = len(cluster.tapped)
            await nodes[0].gossiper.update_metadata(Metadata(weight=weight))
            await trio.sleep(2)
            heard.append(any(to.host == dead.name for _, to in cluster.tapped[since:]))
            await trio.sleep(LOCAL.gossip_to_dead)
        assert heard == [True, False]
