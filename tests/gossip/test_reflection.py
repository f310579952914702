"""Datagrams have no sender one can trust: nobody can make us send more than was sent to us, or for ever."""

from __future__ import annotations

import dataclasses

import pytest
import trio

from swimring.identity import Address, NodeId
from swimring.swim import (
    Ack,
    Envelope,
    Gossip,
    Message,
    Metadata,
    Nack,
    Ping,
    PingRequest,
    Profile,
    RefusalQuery,
    Rumour,
    Status,
    decode_datagram,
    encode_datagram,
    tag_key,
)
from tests.gossip.nodes import PORT, GossipNode, open_cluster, record_of, simulated

LAN = Profile.lan()
KEY = tag_key("test")
LARGE = Metadata(tags={"a": "x" * 480})


class Stranger:
    """Makes datagrams for a member that no member would send."""

    def __init__(self, node: GossipNode) -> None:
        self.node = node

    def datagram(
        self, message: Message, *, name: str, rumours: tuple[Rumour, ...] = (), to: NodeId | None = None
    ) -> bytes:
        said = Envelope(
            source=NodeId(name, 1),
            incarnation=1,
            destination=to or self.node.gossiper.me.id,
            sequence=7,
            message=message,
            rumours=rumours,
        )
        return encode_datagram(said, key=KEY)


QUESTIONS: dict[str, Message] = {
    "ping": Ping(),
    "ping with a checksum": Ping(checksum=1),
    "ping request": PingRequest(target=NodeId("n1", 1), budget=0.1),
    "ping request about nobody": PingRequest(target=NodeId("x", 1), budget=0.1),
    "refusal query": RefusalQuery(target=NodeId("n1", 1)),
    "gossip": Gossip(),
}


@pytest.mark.parametrize("name", ["mallory", "n1"], ids=["under its own name", "under the name of a member"])
@pytest.mark.parametrize("question", QUESTIONS)
@simulated
async def test_a_stranger_gets_no_more_bytes_than_it_sent(question: str, name: str) -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(3, profile=LAN)
        for _ in range(200):  # an incarnation that takes more bytes than the stranger's
            await nodes[0].gossiper.update_metadata(LARGE)
        mallory = await cluster.network.at("mallory").bind(Address("mallory", 1))
        stranger = Stranger(nodes[0])
        payload = stranger.datagram(QUESTIONS[question], name=name)
        await mallory.datagrams.send(payload, nodes[0].address)
        heard = []
        with trio.move_on_after(1):
            while True:
                heard += [data for data, _ in await mallory.datagrams.receive()]
        assert len(heard) <= 1
        assert sum(map(len, heard)) <= len(payload)
        assert all(decode_datagram(data, key=KEY).rumours == () for data in heard)


@simulated
async def test_a_member_at_its_own_address_is_answered_with_rumours_and_a_checksum() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=LAN)
        await trio.sleep(5)
        await a.gossiper.update_metadata(LARGE)
        b.scope.cancel()
        await trio.sleep(0.01)
        binding = await cluster.network.at("n1").bind(Address("n1", PORT))
        await binding.datagrams.send(Stranger(a).datagram(Ping(), name="n1"), a.address)
        answers: list[Envelope] = []
        with trio.fail_after(2):
            while not answers:
                received = [decode_datagram(data, key=KEY) for data, _ in await binding.datagrams.receive()]
                answers = [envelope for envelope in received if isinstance(envelope.message, Ack)]
        assert answers[0].message == Ack(checksum=a.gossiper.checksum)


@simulated
async def test_a_member_that_asks_for_an_earlier_life_is_told_of_this_one_once_a_second() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(3, profile=LAN)
        await trio.sleep(20)  # nobody has anything to tell any more
        payload = Stranger(nodes[0]).datagram(Ping(), name="n1", to=NodeId("n0", 0))
        socket = await cluster.network.at("elsewhere").bind(Address("elsewhere", 1))
        since = len(cluster.tapped)
        for _ in range(5):
            await socket.datagrams.send(payload, nodes[0].address)
        await trio.sleep(0.05)
        told = [(decode_datagram(data, key=KEY), to) for data, to in cluster.tapped[since:]]
        corrections = [each for each, to in told if to == nodes[1].address and isinstance(each.message, Gossip)]
        assert [rumour.member for rumour in corrections[0].rumours] == [nodes[0].gossiper.me]
        assert len([each for each in corrections if each.source.name == "n0"]) <= 2, "the spreader may repeat it"
        assert not [each for each, to in told if to.host == "elsewhere"], "who is meant is not here, so nobody answers"


@simulated
async def test_a_relay_answers_a_stranger_with_as_little() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(3, profile=LAN)
        mallory = await cluster.network.at("mallory").bind(Address("mallory", 1))
        payload = Stranger(nodes[0]).datagram(PingRequest(target=NodeId("n1", 1), budget=0.1), name="mallory")
        await mallory.datagrams.send(payload, nodes[0].address)
        with trio.fail_after(1):
            ((data, _),) = await mallory.datagrams.receive()
        assert isinstance(decode_datagram(data, key=KEY).message, Ack | Nack)
        assert len(data) <= len(payload)


@simulated
async def test_a_relay_tries_no_longer_than_its_own_profile_says_whatever_the_asker_wants() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(3, profile=LAN)
        mallory = await cluster.network.at("mallory").bind(Address("mallory", 1))
        payload = Stranger(nodes[0]).datagram(PingRequest(target=NodeId("n1", 1), budget=59.9), name="mallory")
        cluster.lose(nodes[1])
        asked = trio.current_time()
        await mallory.datagrams.send(payload, nodes[0].address)
        ((data, _),) = await mallory.datagrams.receive()
        assert isinstance(decode_datagram(data, key=KEY).message, Nack)
        assert LAN.relay_budget * 9 <= trio.current_time() - asked < LAN.relay_budget * 9 + 0.1


@simulated
async def test_two_members_that_take_each_other_for_dead_agree_in_a_few_datagrams(seed: int) -> None:
    async with open_cluster() as cluster:
        a, b = nodes = await cluster.start_all(2, profile=LAN)
        await trio.sleep(10)
        before = sum(node.gossiper.statistics().datagrams_sent for node in nodes)
        said = trio.current_time()
        for teller, about in ((a, b), (b, a)):  # as a datagram from somewhere: hearsay in a state would only accuse
            dead = Rumour(member=dataclasses.replace(record_of(about, about.name), status=Status.DEAD))
            mallory = cluster.network.at(f"mallory-{about.name}")
            binding = await mallory.bind(Address(f"mallory-{about.name}", 1))
            lie = Stranger(teller).datagram(Gossip(), name="mallory", rumours=(dead,))
            await binding.datagrams.send(lie, teller.address)
        await a.wait(lambda: a.sees(Status.DEAD) == {b.name})
        await cluster.settle(nodes)
        assert trio.current_time() - said < 3
        await trio.sleep(20)
        sent = sum(node.gossiper.statistics().datagrams_sent for node in nodes) - before
        quiet = 2 * 2 * (trio.current_time() - said)  # a ping and an ack a second, each
        assert sent <= quiet + 40
        assert [node.gossiper.me.incarnation for node in nodes] == [2, 2]
