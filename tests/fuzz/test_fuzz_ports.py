"""Whatever arrives on either port of a running node: counted, logged now and then, and the node goes on.

The same attacks over real loopback sockets and over the simulated network.
"""

from __future__ import annotations

import gc
import logging
import random
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.codec import encode
from swimring.identity import Address, NodeId
from swimring.mux import Limits, Session
from swimring.net import SocketNetwork
from swimring.node import Node, open_node
from swimring.swim import Envelope, Ping, State, decode_datagram, encode_datagram, encode_frame, tag_key
from swimring.testing import open_simulated_network, run_simulation
from tests.node.nodes import PORT, Shop, key_of, living_tasks, node_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from swimring.net import Datagrams, Network

KEY = tag_key("test")
MALLORY = NodeId("mallory", 1)
MUX, GOSSIP = 0xF1, 0xE1
FRAME = bytes.fromhex("000004 10 01 00000000000001")  # a request of 4 bytes, on stream 1
HUGE = bytes.fromhex("ffffff 10 00 00000000000001")
UNKNOWN = bytes.fromhex("000001 6f 00 00000000000001 00")


def hello(cluster: str = "test", *, name: str = "mallory") -> bytes:
    return Session(me=NodeId(name, 1), cluster=cluster, limits=Limits(), dialled=True).bytes_to_send()


def envelope(to: NodeId | None = None) -> Envelope:
    return Envelope(source=MALLORY, incarnation=1, destination=to, sequence=7, message=Ping())


def state(cluster: str = "test") -> bytes:
    parts = Envelope(source=MALLORY, incarnation=1, destination=None, sequence=0, message=State(more=True))
    return encode_frame(parts, key=tag_key(cluster))


STREAMS: dict[str, bytes] = {
    "nothing": b"",
    "unknown protocol": b"GET / HTTP/1.1\r\n\r\n",
    "tls": bytes.fromhex("160301020001000100"),
    "mux of another version": bytes([MUX + 1]) + hello()[1:],
    "mux of another cluster": hello("other"),
    "mux without a hello": bytes([MUX]),
    "mux with half a hello": hello()[:20],
    "mux with the node's own name": hello(name="a"),
    "mux with a frame for a hello": bytes([MUX]) + FRAME + b"none",
    "mux with a huge hello": bytes([MUX]) + HUGE + bytes(100_000),
    "mux with a hello that is no hello": bytes([MUX]) + bytes.fromhex("000001 01 01 00000000000000 f6"),
    "mux with two hellos": hello() + hello()[1:],
    "mux with a request that makes no sense": hello() + FRAME + b"none",
    "mux with a huge frame": hello() + HUGE + bytes(70_000),
    "mux with an unknown frame": hello() + UNKNOWN,
    "mux with half a frame": hello() + FRAME,
    "gossip of another version": bytes([GOSSIP + 1]) + state()[1:],
    "gossip of another cluster": state("other"),
    "gossip cut short": state()[:-3],
    "gossip without a length": bytes([GOSSIP, 0]),
    "gossip that is too large": bytes([GOSSIP]) + (2**31).to_bytes(4, "big") + bytes(100),
    "gossip that ends in the middle of a state": state(),
    "gossip that goes on with something else": state() + hello(),
}
DATAGRAMS: dict[str, bytes] = {
    "empty": b"",
    "another version": bytes([GOSSIP + 1]) + encode_datagram(envelope(), key=KEY)[1:],
    "another cluster": encode_datagram(envelope(), key=tag_key("other")),
    "another protocol": bytes(32),
    "oversized": bytes([GOSSIP]) + bytes(5_000),
    "truncated": encode_datagram(envelope(), key=KEY)[:9],
    "only the magic": bytes([GOSSIP]),
}


def damaged(data: bytes, dice: random.Random) -> bytes:
    """``data`` with a few bytes changed, doubled or left out."""
    result = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(result) + 1)
        match dice.randrange(4):
            case 0 if place < len(result):
                result[place] ^= 1 << dice.randrange(8)
            case 1:
                del result[place:]
            case 2:
                result[place:place] = dice.randbytes(dice.randint(1, 40))
            case _:
                result[place:place] = result[dice.randrange(len(result) + 1) :][:64]
    return bytes(result)


def random_streams(dice: random.Random, count: int) -> list[bytes]:
    """Random bytes behind each magic byte, and damaged versions of what makes sense."""
    valid = [hello(), state(), hello() + FRAME + encode([])[:4].ljust(4, b"\0")]
    made = [
        bytes([dice.choice([MUX, GOSSIP, dice.randrange(256)])]) + dice.randbytes(dice.randint(0, 300))
        for _ in range(count)
    ]
    return made + [damaged(dice.choice(valid), dice) for _ in range(count)]


def random_datagrams(dice: random.Random, count: int) -> list[bytes]:
    valid = encode_datagram(envelope(), key=KEY)
    made = [bytes([GOSSIP]) + dice.randbytes(dice.randint(0, 200)) for _ in range(count)]
    return made + [damaged(valid, dice) for _ in range(count)]


class Attacker:
    """Somebody on the network of a node who sends what makes no sense."""

    def __init__(self, network: Network, target: Address, datagrams: Datagrams, *, reordered_for: float) -> None:
        self._network = network
        self._reordered_for = reordered_for
        self._target = target
        self._datagrams = datagrams

    async def send_stream(self, data: bytes) -> None:
        """Send, say that this is all, and wait until the node has closed the connection."""
        stream = await self._network.connect(self._target)
        async with stream:
            try:
                await stream.send_all(data)
                assert isinstance(stream, trio.abc.HalfCloseableStream)
                await stream.send_eof()
                while await stream.receive_some(65_536):
                    pass
            except trio.BrokenResourceError:
                pass  # closed by the node before it had read everything

    async def send_datagrams(self, payloads: list[bytes], node: Node) -> None:
        """Send, and wait until the node has read all of them: it then answers a ping, which comes behind."""
        for payload in payloads:
            await self._datagrams.send(payload, self._target)
        await trio.sleep(self._reordered_for)
        await self._datagrams.send(encode_datagram(envelope(node.me.id), key=KEY), self._target)
        while not any(self._answers(payload) for payload, _ in await self._datagrams.receive()):
            pass

    def _answers(self, payload: bytes) -> bool:
        return decode_datagram(payload, key=KEY).sequence == 7


class World:
    """Two nodes and an attacker on one network."""

    def __init__(self, node: Node, other: Node, attacker: Attacker, shop: Shop) -> None:
        self.node = node
        self.attacker = attacker
        self._other = other
        self._shop = shop

    async def still_answers(self) -> None:
        """Both ways, within a second."""
        with trio.fail_after(5):
            for asker, owner in ((self._other, self.node), (self.node, self._other)):
                assert await asker.call(self._shop.where, key_of(asker, owner.name)) == owner.name


@asynccontextmanager
async def simulated_world() -> AsyncIterator[World]:
    shop = Shop()
    async with (
        open_simulated_network() as network,
        node_at(network, "a", shop.service) as a,
        node_at(network, "b", shop.service, join=["a"]) as b,
    ):
        await both(a, b)
        mallory = network.at("mallory")
        binding = await mallory.bind(Address("mallory", PORT))
        yield World(a, b, Attacker(mallory, a.me.address, binding.datagrams, reordered_for=0.1), shop)
        binding.close()


@asynccontextmanager
async def real_world() -> AsyncIterator[World]:
    shop, network = Shop(), SocketNetwork()
    async with (
        open_node(shop.service, cluster="test", name="a", listen="127.0.0.1:0", join=["127.0.0.1:1"]) as a,
        open_node(shop.service, cluster="test", name="b", listen="127.0.0.1:0", join=[a.me.address]) as b,
    ):
        await both(a, b)
        binding = await network.bind(Address("127.0.0.1", 0))
        yield World(a, b, Attacker(network, a.me.address, binding.datagrams, reordered_for=0), shop)
        binding.close()


async def both(a: Node, b: Node) -> None:
    with trio.fail_after(10):
        await a.wait_ring(nodes=2)
        await b.wait_ring(nodes=2)


def in_both_worlds(rule: Callable[[World], Awaitable[None]]) -> Callable[[str], None]:
    """Run a rule on real sockets, and in a simulation."""

    def test(where: str) -> None:
        async def main() -> None:
            async with simulated_world() if where == "simulated" else real_world() as world:
                await rule(world)

        if where == "simulated":
            run_simulation(main, seed=1)
        else:
            trio.run(main)

    test.__name__ = rule.__name__
    return pytest.mark.parametrize("where", ["real", "simulated"])(test)


@in_both_worlds
async def test_each_kind_of_nonsense_on_a_stream_is_counted_once_and_the_node_goes_on(world: World) -> None:
    for what, data in STREAMS.items():
        before = world.node.counters()["refused"]
        with trio.fail_after(4):
            await world.attacker.send_stream(data)
        refused = world.node.counters()["refused"] - before
        assert refused == 1, what
    await world.still_answers()


@in_both_worlds
async def test_each_kind_of_nonsense_in_a_datagram_is_counted_once_and_the_node_goes_on(world: World) -> None:
    for what, data in DATAGRAMS.items():
        before = world.node.counters()["refused"]
        await world.attacker.send_datagrams([data], world.node)
        assert world.node.counters()["refused"] - before == 1, what
    await world.still_answers()


@in_both_worlds
async def test_random_and_damaged_bytes_leave_neither_tasks_nor_memory_nor_members(world: World) -> None:
    dice = random.Random(20)
    await assault(world, dice)  # what is made once and kept, is made now
    members, tasks, sessions = world.node.members, len(living_tasks()), sessions_alive()
    tracemalloc.start()
    try:
        await assault(world, dice)
        before = memory_held()
        for _ in range(3):
            await assault(world, dice)
        grown = memory_held() - before
    finally:
        tracemalloc.stop()
    assert sessions_alive() <= sessions
    assert grown < 400_000, "Trio's heap of deadlines comes and goes; 150 connections that stay would be more"
    assert len(living_tasks()) <= tasks + 5, "duties come and go, connections do not stay"
    assert {member.name for member in world.node.members} == {member.name for member in members} == {"a", "b"}
    assert world.node.counters()["refused"] > 200
    await world.still_answers()


async def assault(world: World, dice: random.Random) -> None:
    await world.attacker.send_datagrams(random_datagrams(dice, 40), world.node)
    for data in random_streams(dice, 25):
        with trio.fail_after(10):
            await world.attacker.send_stream(data)
    await world.still_answers()


def sessions_alive() -> int:
    gc.collect()
    return sum(isinstance(each, Session) for each in gc.get_objects())


def memory_held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_nonsense_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with simulated_world() as world:
            dice = random.Random(21)
            for _ in range(3):
                await assault(world, dice)
                for data in STREAMS.values():
                    await world.attacker.send_stream(data)

    with caplog.at_level(logging.INFO):
        run_simulation(main, seed=1)
    told = [record for record in caplog.records if "refused" in record.getMessage()]
    assert told
    assert len(told) < 40, "one line for each port, or kind of gossip, in 10 s"
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
