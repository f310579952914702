"""Exchanges of states: only what differs is shown, and members of the first release are understood."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.codec import decode
from swimring.gossip.parts import Heard
from swimring.identity import Address, NodeId
from swimring.swim import (
    FRAME_HEADER_SIZE,
    MAX_FRAME,
    TAG_SIZE,
    BytesRefused,
    Envelope,
    Gossip,
    Member,
    Metadata,
    Profile,
    Rumour,
    State,
    Status,
    Summary,
    decode_frame,
    encode_datagram,
    encode_frame,
    frame_length,
    tag_key,
)
from tests.gossip.nodes import PORT, Cluster, GossipNode, open_cluster, simulated

if TYPE_CHECKING:
    from collections.abc import Sequence

LAN = Profile.lan()
RARELY = dataclasses.replace(LAN, push_pull_interval=3600)
KEY = tag_key("test")
OLD = NodeId("old", 1)


def record(name: str, status: Status = Status.ALIVE, *, host: str | None = None, weight: int = 1) -> Member:
    return Member(
        name=name,
        address=Address(host or name, PORT),
        generation=1,
        incarnation=1,
        status=status,
        metadata=Metadata(weight=weight),
    )


def heard_by(*nodes: GossipNode) -> list[int]:
    return [node.gossiper.statistics().records_heard for node in nodes]


def said_by(cluster: Cluster, *nodes: GossipNode) -> tuple[float, int]:
    """Exchanges so far, and bytes in them."""
    exchanges = sum(node.gossiper.statistics().exchanges for node in nodes) / 2
    return exchanges, sum(cluster.network.statistics(node.name).stream_bytes_sent for node in nodes)


@simulated
async def test_two_members_show_each_other_only_what_differs(seed: int) -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(10, profile=RARELY)
        await trio.sleep(10)
        before = heard_by(*nodes)
        assert await nodes[0].gossiper.join([nodes[1].address]) == 1
        # the one who dials introduces itself, to the one it joins and to one more; nothing else differs
        assert sum(heard_by(*nodes)) - sum(before) == 2
        nodes[1].gossiper.learn([record("x1"), record("x2", Status.LEFT)])
        before = heard_by(*nodes)
        assert await nodes[0].gossiper.join([nodes[1].address]) == 1
        assert nodes[0].gossiper.member("x1") is not None
        assert nodes[0].gossiper.member("x2") is not None
        assert heard_by(nodes[0])[0] - before[0] <= 3


@simulated
async def test_the_one_more_whom_a_newcomer_asks_is_not_always_the_same() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(10, profile=RARELY)
        await trio.sleep(10)
        asked: set[str] = set()
        for _ in range(8):
            before = heard_by(*nodes)
            await nodes[0].gossiper.join([nodes[1].address])
            asked |= {node.name for node, was, now in zip(nodes, before, heard_by(*nodes), strict=True) if now > was}
        assert len(asked - {"n1"}) > 2


@simulated
async def test_what_only_the_dialler_knows_is_asked_for_in_the_same_connection() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=RARELY)
        a.gossiper.learn([record(f"x{n}", Status.DEAD) for n in range(5)])  # unknown and dead: not gossiped
        before = cluster.network.statistics("n0").connections_dialled
        assert await a.gossiper.join([b.address]) == 1
        await trio.sleep(0.1)
        assert b.sees(Status.DEAD) == {f"x{n}" for n in range(5)}
        assert cluster.network.statistics("n0").connections_dialled - before == 1


@simulated
async def test_a_usual_exchange_costs_no_more_in_a_large_cluster_and_still_finds_what_differs() -> None:
    often = dataclasses.replace(LAN, push_pull_interval=2)
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=often)
        costs = []
        for count in (0, 300):
            # They are not gossiped and not in the checksum of an ack: only the usual exchange can find them.
            a.gossiper.learn([record(f"x{n}", Status.LEFT) for n in range(count)])
            b.gossiper.learn([record(f"y{n}", Status.DEAD) for n in range(count)])
            await trio.sleep(10)
            assert len(a.sees(Status.LEFT)) == len(b.sees(Status.LEFT)) == count
            assert len(a.sees(Status.DEAD)) == len(b.sees(Status.DEAD)) == count
            before = said_by(cluster, a, b)
            await trio.sleep(60)
            exchanges, said = (late - early for early, late in zip(before, said_by(cluster, a, b), strict=True))
            costs.append(said / exchanges)
            assert exchanges > 20
        assert costs[1] == pytest.approx(costs[0], rel=0.01)
        assert costs[0] < 250


@simulated
async def test_members_of_a_larger_cluster_exchange_states_less_often() -> None:
    """Thirty-three and more: every other interval, so that the load of all does not grow with their number."""
    async with open_cluster() as cluster:
        profile = dataclasses.replace(LAN, probe_interval=10)  # what is counted here are exchanges
        nodes = await cluster.start_all(33, profile=profile)
        await trio.sleep(2 * LAN.push_pull_interval)  # the first comes at any moment of the first interval
        before, _ = said_by(cluster, *nodes)
        await trio.sleep(8 * LAN.push_pull_interval)
        after, _ = said_by(cluster, *nodes)
        assert after - before == pytest.approx(33 * 4, rel=0.1)


@simulated
async def test_states_of_many_frames_arrive_whole() -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=RARELY)
        many = [record(f"gone-{n:05}-{'x' * 100}", Status.LEFT, host="10.0.0.9") for n in range(1500)]
        a.gossiper.learn(many[:1000])
        b.gossiper.learn(many[500:])
        assert await a.gossiper.join([b.address]) == 1
        await trio.sleep(1)
        assert len(a.sees(Status.LEFT)) == len(b.sees(Status.LEFT)) == 1500


# ---------------------------------------------------------------------------------------------- the first release


class OldPeer:
    """A member of the first release: it sends all its records, and knows nothing of digests."""

    def __init__(self, cluster: Cluster, *records: Member) -> None:
        self.network = cluster.network.at("old")
        self.records = {each.name: each for each in (record("old"), *records)}
        self.arrays: list[list[object]] = []

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        binding = await self.network.bind(Address("old", PORT))
        task_status.started()
        while True:
            stream, _ = await binding.listener.accept()
            async with stream:
                await self.hear(stream)
                await self.say(stream)

    async def dial(self, address: Address) -> None:
        async with await self.network.connect(address) as stream:
            await self.say(stream)
            await self.hear(stream)

    async def say(self, stream: trio.abc.Stream) -> None:
        rumours = tuple(Rumour(member=each) for each in self.records.values())
        said = Envelope(source=OLD, incarnation=1, message=State(more=False), rumours=rumours)
        await stream.send_all(encode_frame(said, key=KEY))

    async def hear(self, stream: trio.abc.Stream) -> None:
        buffer = b""
        while len(buffer) < FRAME_HEADER_SIZE or len(buffer) < FRAME_HEADER_SIZE + frame_length(buffer[:5]):
            data = await stream.receive_some(MAX_FRAME)
            if not data:
                return
            buffer += data
        wire = decode(buffer[FRAME_HEADER_SIZE:-TAG_SIZE])
        assert isinstance(wire, list)
        self.arrays.append(wire)
        assert wire[8] is False  # one frame says all of it
        self.records |= {each.member.name: each.member for each in decode_frame(buffer, key=KEY).rumours}


@simulated
async def test_a_member_of_the_first_release_that_dials_gets_all_records_in_the_old_form() -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(3, profile=RARELY)
        old = OldPeer(cluster)
        await old.dial(nodes[0].address)
        assert set(old.records) == {"old", "n0", "n1", "n2"}
        assert [len(array) for array in old.arrays] == [9]
        assert "old" in nodes[0].sees()


@simulated
async def test_a_member_of_the_first_release_that_is_dialled_learns_all_records() -> None:
    async with open_cluster() as cluster, trio.open_nursery() as nursery:
        nodes = await cluster.start_all(3, profile=RARELY)
        old = OldPeer(cluster, record("friend", Status.LEFT))
        await nursery.start(old.serve)
        assert await nodes[0].gossiper.join([Address("old", PORT)]) == 1
        await trio.sleep(0.1)
        assert set(old.records) == {"old", "friend", "n0", "n1", "n2"}
        assert nodes[0].sees(Status.LEFT) == {"friend"}
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------------------------------------- nonsense


@pytest.mark.parametrize(
    "said",
    [
        [State(more=True, digest=())],
        [State(more=False, digest=tuple(Summary.of(record(f"x{n}")) for n in range(50)))],
    ],
    ids=["hangs up in the middle of a digest", "hangs up instead of showing what is wanted"],
)
@simulated
async def test_who_hangs_up_in_the_middle_ends_only_its_connection(said: Sequence[State]) -> None:
    async with open_cluster() as cluster:
        a, b = await cluster.start_all(2, profile=RARELY)
        stream = await cluster.network.at("mallory").connect(a.address)
        for state in said:
            await stream.send_all(encode_frame(Envelope(source=OLD, incarnation=1, message=state), key=KEY))
        await stream.aclose()
        await trio.sleep(1)
        assert a.recorder.failed_duties == []
        assert a.gossiper.member("x0") is None
        assert await b.gossiper.join([a.address]) == 1


def test_nobody_is_listened_to_for_more_names_than_a_membership_holds() -> None:
    names = tuple(f"n{number}" for number in range(1000))
    summaries = tuple(Summary.of(record(name)) for name in names)
    rumours = [Rumour(member=record(name)) for name in names]
    for said, shown in (
        (State(more=True, digest=summaries), []),
        (State(more=True, wanted=names), []),
        (State(more=True), rumours),
    ):
        heard = Heard(OLD)
        for _ in range(65):
            heard.take(said, shown)
        with pytest.raises(BytesRefused, match="65536"):
            heard.take(said, shown)


@simulated
async def test_who_was_ahead_is_left_alone_once_its_rumour_has_arrived(seed: int) -> None:
    async with open_cluster() as cluster:
        a, c = await cluster.start_all(2, profile=RARELY)
        await trio.sleep(10)
        known = next(member for member in a.gossiper.members if member.name == c.name)
        newer = dataclasses.replace(known, incarnation=known.incarnation + 1)
        wire = await cluster.network.at("wire").bind(Address("wire", PORT))

        async def say(*rumours: Rumour) -> None:
            told = Envelope(source=newer.id, incarnation=newer.incarnation, message=Gossip(), rumours=rumours)
            await wire.datagrams.send(encode_datagram(told, key=KEY), a.address)

        def dialled() -> int:
            return cluster.network.statistics(a.name).connections_dialled

        before = dialled()
        await say()
        await trio.sleep(0.4)
        assert dialled() == before + 1
        await say()  # its turn comes when a second has passed
        await trio.sleep(0.1)
        await say(Rumour(member=newer))
        await trio.sleep(3)
        assert dialled() == before + 1
