"""Broadcasts between gossipers: who hears what, once, and what becomes of those who are slow or were away."""

from __future__ import annotations

import dataclasses
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.errors import LocalProtocolError, NodeClosed
from swimring.gossip import BroadcastEvent, Missed
from swimring.security import Keyring
from swimring.swim import REMEMBERED, Broadcast, Metadata, Profile, Status
from swimring.testing import PASS, Packet, PacketKind, Verdict
from tests.gossip.nodes import GossipNode, open_cluster, simulated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

LAN = Profile.lan()
RARELY = dataclasses.replace(LAN, push_pull_interval=3600)


class Ears:
    """What the applications of some nodes have heard, in order."""

    def __init__(self) -> None:
        self.heard: dict[str, list[BroadcastEvent]] = {}

    def of(self, node: GossipNode) -> list[Any]:
        """What was heard there, by payload."""
        assert all(isinstance(each, Broadcast) for each in self.heard[node.name])
        return [each.payload for each in self.heard[node.name] if isinstance(each, Broadcast)]

    async def listen(self, node: GossipNode, *, task_status: trio.TaskStatus[None]) -> None:
        heard = self.heard.setdefault(node.name, [])
        async with node.gossiper.broadcasts() as broadcasts:
            task_status.started()
            async for broadcast in broadcasts:
                heard.append(broadcast)


@asynccontextmanager
async def ears_of(nodes: Iterable[GossipNode]) -> AsyncIterator[Ears]:
    ears = Ears()
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(ears.listen, node)
        yield ears
        nursery.cancel_scope.cancel()


class Segments:
    """A fault that is none: it counts what passes on streams."""

    def __init__(self) -> None:
        self.count = 0

    def judge(self, packet: Packet) -> Verdict:
        self.count += packet.kind is PacketKind.SEGMENT
        return PASS


def queued(*nodes: GossipNode) -> int:
    return sum(node.gossiper.statistics().broadcasts for node in nodes)


@simulated
async def test_a_broadcast_is_heard_by_everybody_once_its_origin_included() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(5, profile=RARELY)
        async with ears_of(nodes) as ears:
            await nodes[0].gossiper.broadcast("deploy", {"version": 2})
            await nodes[3].gossiper.broadcast("deploy", {"version": 3})
            await trio.sleep(5)
        for node in nodes:
            assert sorted(ears.of(node), key=str) == [{"version": 2}, {"version": 3}]
            first = ears.heard[node.name][0]
            assert isinstance(first, Broadcast)
            assert (first.name, first.origin.generation) == ("deploy", 1)
        assert queued(*nodes) == 0


@simulated
async def test_a_broadcast_is_sent_as_often_as_a_rumour_and_not_to_its_origin() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=RARELY)
        await trio.sleep(5)
        del cluster.tapped[:]
        await a.gossiper.broadcast("deploy", "marker of this test")
        await trio.sleep(10)
        told = [to.host for payload, to in cluster.tapped if b"marker of this test" in payload]
        assert told == ["n1"] * LAN.retransmit_limit(2)
        assert queued(a, b) == 0


@simulated
async def test_a_node_that_is_alone_queues_nothing_and_hears_itself() -> None:
    async with open_cluster() as cluster:
        alone = await cluster.start("alone")
        async with ears_of([alone]) as ears:
            for number in range(3):
                await alone.gossiper.broadcast("n", number)
            await trio.sleep(1)
            assert ears.of(alone) == [0, 1, 2]
            assert queued(alone) == 0


@simulated
async def test_who_joins_does_not_hear_what_was_said_before() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(3, profile=RARELY)
        await nodes[0].gossiper.broadcast("n", "before")
        await trio.sleep(10)
        new = await cluster.start("new", profile=RARELY)
        async with ears_of([*nodes, new]) as ears:
            assert await new.gossiper.join([nodes[1].address]) == 1
            await nodes[0].gossiper.join([new.address])  # nor by an exchange that somebody else begins
            await nodes[2].gossiper.broadcast("n", "after")
            await new.gossiper.broadcast("n", "mine")
            await trio.sleep(5)
            assert sorted(ears.of(new)) == ["after", "mine"]
            assert sorted(ears.of(nodes[0])) == ["after", "mine"]


@simulated
async def test_who_was_alone_until_somebody_found_it_does_not_hear_what_was_said_before() -> None:
    async with open_cluster() as cluster:
        old = await cluster.start("old", profile=RARELY)
        await old.gossiper.broadcast("n", "before")
        new = await cluster.start("new", profile=RARELY)
        async with ears_of([old, new]) as ears:
            await new.gossiper.broadcast("n", "alone")
            assert await old.gossiper.join([new.address]) == 1
            await trio.sleep(3)
            assert ears.of(new) == ["alone"]


@simulated
async def test_who_was_cut_off_hears_what_it_missed_in_the_next_exchange() -> None:
    async with open_cluster() as cluster:
        a, b, c = await cluster.start_all(3, profile=RARELY)
        async with ears_of([a, b, c]) as ears:
            with cluster.network.isolate("n2"):
                for number in range(200):
                    await a.gossiper.broadcast("n", f"{number} {'x' * 480}")
                await c.gossiper.broadcast("n", "from outside")
                await trio.sleep(40)
                assert ears.of(c) == ["from outside"]
            assert await c.gossiper.join([b.address]) == 1
            await trio.sleep(3)
            await trio.sleep(120)
            everything = sorted([f"{number} {'x' * 480}" for number in range(200)] + ["from outside"])
            assert [sorted(ears.of(node)) for node in (a, b, c)] == [everything] * 3
            assert queued(a, b, c) == 0


@simulated
async def test_what_was_missed_is_recalled_over_sealed_connections_as_well() -> None:
    async with open_cluster() as cluster:
        ring = Keyring([bytes(32)])
        a = await cluster.start("a", profile=RARELY, keyring=ring)
        b = await cluster.start("b", profile=RARELY, keyring=ring, join=["a"])
        async with ears_of([a, b]) as ears:
            with cluster.network.partition("a", "b"):
                await a.gossiper.broadcast("n", "from a")
                await b.gossiper.broadcast("n", "from b")
                await trio.sleep(10)
            assert await b.gossiper.join([a.address]) == 1
            assert [sorted(ears.of(node)) for node in (a, b)] == [["from a", "from b"]] * 2
            assert a.recorder.refused == b.recorder.refused == []


@simulated
async def test_members_that_heard_the_same_say_so_with_their_states_and_no_more() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=RARELY)

        async def segments_of_an_exchange() -> int:
            segments = Segments()
            with cluster.network.inject(segments):
                assert await a.gossiper.join([b.address]) == 1
                await trio.sleep(1)
            return segments.count

        async def fewest() -> int:  # how many segments carry no data depends on how long they travel
            return min([await segments_of_an_exchange() for _ in range(5)])

        nothing_said = await fewest()
        for number in range(100):
            await a.gossiper.broadcast("n", number)
        await trio.sleep(30)
        assert await fewest() == nothing_said


@simulated
async def test_a_listener_that_is_too_slow_is_told_how_many_it_missed() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=RARELY)
        async with b.gossiper.broadcasts() as broadcasts:
            for number in range(300):
                await a.gossiper.broadcast("n", number)
            await trio.sleep(60)
            assert await anext(broadcasts) == Missed(count=300 - 256)
            rest = [await anext(broadcasts) for _ in range(256)]
            assert all(isinstance(each, Broadcast) for each in rest)
            with trio.move_on_after(1) as waiting:
                await anext(broadcasts)
            assert waiting.cancelled_caught


@simulated
async def test_listening_ends_with_the_node() -> None:
    async with open_cluster() as cluster:
        a = await cluster.start("a")
        async with a.gossiper.broadcasts() as broadcasts:
            await a.gossiper.broadcast("n", 1)
            a.scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert [each.payload async for each in broadcasts if isinstance(each, Broadcast)] == [1]


@simulated
async def test_what_is_too_large_is_an_error_of_the_one_who_says_it() -> None:
    async with open_cluster() as cluster:
        a, _ = await cluster.start_all(2)
        with pytest.raises(LocalProtocolError, match="more than 512"):
            await a.gossiper.broadcast("n", "x" * 600)
        wide = dataclasses.replace(LAN, broadcast_limit=700)
        b = await cluster.start("wide", profile=wide, join=["n0"])
        async with ears_of([a]) as ears:
            await b.gossiper.broadcast("n", "x" * 690)
            await trio.sleep(3)
            assert ears.of(a) == ["x" * 690]


@simulated
async def test_nobody_says_anything_after_its_farewell() -> None:
    async with open_cluster() as cluster:
        a, _ = await cluster.start_all(2)
        await a.gossiper.leave()
        with pytest.raises(NodeClosed):
            await a.gossiper.broadcast("n", 1)


@simulated
async def test_who_says_more_than_the_queue_holds_waits_until_there_is_room() -> None:
    async with open_cluster() as cluster:
        a, _ = await cluster.start_all(2, profile=RARELY)
        said = 0

        async def say(count: int) -> None:
            nonlocal said
            for _ in range(count):
                await a.gossiper.broadcast("n", "x" * 400)
                said += 1

        with cluster.network.partition("n0", "n1"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, REMEMBERED)
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(say, 1)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert said < REMEMBERED + 5
        assert said == REMEMBERED + 5
        assert a.gossiper.statistics().broadcasts_ignored == 0


@simulated
async def test_who_waits_to_say_something_is_told_that_the_node_has_ended() -> None:
    async with open_cluster() as cluster:
        a, _ = await cluster.start_all(2, profile=RARELY)
        with pytest.raises(NodeClosed):
            for number in range(2 * REMEMBERED):
                if number == REMEMBERED:
                    a.scope.cancel()
                await a.gossiper.broadcast("n", number)


@pytest.mark.parametrize("sealed", [False, True])
@simulated
async def test_rumours_and_broadcasts_share_every_datagram_and_neither_waits_for_the_other(sealed: bool) -> None:
    async with open_cluster() as cluster:
        ring = Keyring([bytes(32)]) if sealed else None
        a = await cluster.start("a", profile=RARELY, keyring=ring)
        b = await cluster.start("b", profile=RARELY, keyring=ring, join=["a"])
        await trio.sleep(3)
        stop = trio.Event()

        async def change_for_ever() -> None:
            # Each change is a rumour that nobody has heard yet: there are always more of them than fit.
            number = 0
            while not stop.is_set():
                number += 1
                records = [
                    dataclasses.replace(
                        a.gossiper.me, name=f"x{each}", status=Status.DEAD, incarnation=number,
                        metadata=Metadata(tags={"p": "x" * 300}),
                    )
                    for each in range(20)
                ]  # fmt: skip
                a.gossiper.learn(records)
                await trio.sleep(0.05)

        async with ears_of([b]) as ears, trio.open_nursery() as nursery:
            nursery.start_soon(change_for_ever)
            await trio.sleep(1)
            for number in range(20):
                await a.gossiper.broadcast("n", f"{number} {'x' * 490}")
            await trio.sleep(10)
            assert len(ears.of(b)) == 20
            assert a.gossiper.statistics().rumours > 0
            stop.set()
        assert max(len(payload) for payload, _ in cluster.tapped) <= 1400
