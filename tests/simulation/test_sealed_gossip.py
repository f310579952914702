"""Clusters with a secret: who hears whom, while keys change, clocks differ, and others listen and talk in between."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import trio

from swimring.identity import Address
from swimring.security import Keyring, Sealing, key_id
from swimring.swim import Metadata, Profile, Status
from tests.gossip.nodes import PORT, Cluster, GossipNode, open_cluster, simulated

if TYPE_CHECKING:
    import pytest

OLD, NEW, WRONG = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
LOCAL, LAN = Profile.local(), Profile.lan()


async def start_sealed(cluster: Cluster, count: int, *keys: bytes) -> tuple[list[GossipNode], list[Keyring]]:
    rings = [Keyring(keys or [OLD]) for _ in range(count)]
    zoned = Metadata(zone="wing-7")
    nodes = [
        await cluster.start(f"n{n}", keyring=ring, profile=LOCAL, join=["n0"] if n else [], metadata=zoned)
        for n, ring in enumerate(rings)
    ]
    await cluster.settle(nodes)
    return nodes, rings


def nobody_was_lost(nodes: list[GossipNode]) -> bool:
    return not [change for node in nodes for change in node.recorder.changes if change[2] == "dead"]


@simulated
async def test_a_sealed_cluster_works_as_a_plain_one_and_says_nothing_in_plain(seed: int) -> None:
    async with open_cluster() as cluster:
        nodes, _ = await start_sealed(cluster, 10)
        await trio.sleep(30)
        lost = nodes.pop()
        cluster.crash(lost)
        assert await cluster.wait_status(nodes, [lost.name], Status.DEAD) < trio.current_time() + 5
        assert all(node.recorder.refused == [] and node.recorder.failed_duties == [] for node in nodes)
        assert all(payload[0] == 0xD1 and len(payload) <= 1400 for payload, _ in cluster.tapped)
        assert not [payload for payload, _ in cluster.tapped if b"wing-7" in payload]


@simulated
async def test_a_wrong_secret_never_merges_although_addresses_are_swapped(seed: int) -> None:
    async with open_cluster() as cluster:
        red = [await cluster.start(f"r{n}", keyring=Keyring([OLD]), seeds=["b0"], profile=LOCAL) for n in range(3)]
        blue = [await cluster.start(f"b{n}", keyring=Keyring([WRONG]), seeds=["r0"], profile=LOCAL) for n in range(3)]
        plain = [await cluster.start(f"p{n}", seeds=["r0", "b0"], profile=LOCAL) for n in range(2)]
        for group in (red, blue, plain):
            for node in group[1:]:
                await node.gossiper.join([group[0].address])
        assert await red[0].gossiper.join([blue[0].address, plain[0].address]) == 0
        assert await plain[0].gossiper.join([blue[0].address, red[0].address]) == 0
        # r2 dies, and a blue node starts at its address: members of red know that address
        cluster.crash(red[2])
        thief = await cluster.start("b9", keyring=Keyring([WRONG]), join=["b0"], profile=LOCAL, host="r2")
        await trio.sleep(60)
        assert all(node.sees() == {"r0", "r1"} for node in red[:2])
        assert all(node.sees() == {"b0", "b1", "b2", "b9"} for node in [*blue, thief])
        assert all(node.sees() == {"p0", "p1"} for node in plain)
        assert ("stream", "key") in blue[0].recorder.refused
        assert ("stream", "unsealed") in blue[0].recorder.refused
        assert ("stream", "sealed") in plain[0].recorder.refused


@simulated
async def test_one_secret_and_two_names_are_two_clusters(seed: int) -> None:
    async with open_cluster() as cluster:
        red = await cluster.start("red", cluster="red", keyring=Keyring([OLD]), seeds=["blue"], profile=LOCAL)
        blue = await cluster.start("blue", cluster="blue", keyring=Keyring([OLD]), seeds=["red"], profile=LOCAL)
        await trio.sleep(30)
        assert (red.sees(), blue.sees()) == ({"red"}, {"blue"})
        assert ("stream", "seal") in red.recorder.refused


@simulated
async def test_who_is_refused_is_told_what_to_do(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    async with open_cluster() as cluster:
        sealed = await cluster.start("n0", keyring=Keyring([NEW]))
        wrong = await cluster.start("n1", keyring=Keyring([WRONG]), join=["n0"])
        plain = await cluster.start("n2", join=["n0"])
        assert "give this node a key of its cluster" in caplog.text
        assert "give this node the secret of its cluster (--secret-file)" in caplog.text
        assert NEW.hex() not in caplog.text
        assert sealed.sees() == {"n0"}
        assert (wrong.sees(), plain.sees()) == ({"n1"}, {"n2"})


@simulated
async def test_a_rotation_loses_nobody(seed: int) -> None:
    async with open_cluster() as cluster:
        nodes, rings = await start_sealed(cluster, 6)
        for ring in rings:
            ring.install(NEW)
            await trio.sleep(1)
        for ring in rings:
            ring.use(key_id(NEW))
            await trio.sleep(1)
        for ring in rings:
            ring.remove(key_id(OLD))
            await trio.sleep(1)
        await trio.sleep(30)
        assert nobody_was_lost(nodes)
        assert all(node.recorder.refused == [] for node in nodes)
        assert all(payload[1:5] == key_id(NEW) for payload, _ in cluster.tapped[-50:])


@simulated
async def test_a_member_that_was_away_while_the_key_changed_returns_with_the_old_one(
    seed: int,
) -> None:
    async with open_cluster() as cluster:
        nodes, rings = await start_sealed(cluster, 6)
        *others, away = nodes
        cluster.crash(away)
        await cluster.wait_status(others, [away.name], Status.DEAD)
        for ring in rings[:-1]:
            ring.install(NEW)
            ring.use(key_id(NEW))
        for node in others:
            node.recorder.changes.clear()
        back = await cluster.start(away.name, generation=2, keyring=Keyring([OLD]), join=["n0"], profile=LOCAL)
        await cluster.settle([*others, back])
        await trio.sleep(120)
        await cluster.settle([*others, back])
        assert nobody_was_lost([*others, back])


@simulated
async def test_a_member_cut_off_while_the_key_changed_is_found_again_whoever_dials(seed: int) -> None:
    async with open_cluster() as cluster:
        nodes, rings = await start_sealed(cluster, 5)
        *others, away = nodes
        with cluster.network.isolate(away.name):
            await cluster.wait_status(others, [away.name], Status.DEAD)
            for ring in rings[:-1]:
                ring.install(NEW)
                ring.use(key_id(NEW))
        await cluster.settle(nodes)
        back = trio.current_time()
        await trio.sleep(60)
        await cluster.settle(nodes)
        assert not [each for node in others for each in node.recorder.changes if each[0] > back and each[2] == "dead"]


@simulated
async def test_a_member_with_a_removed_key_stays_out_until_it_has_a_current_one(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_cluster() as cluster:
        others, _ = await start_sealed(cluster, 3, NEW)
        ring = Keyring([OLD])
        back = await cluster.start("n9", keyring=ring, seeds=["n0"], join=["n0"], profile=LOCAL)
        await trio.sleep(20)
        assert back.sees() == {"n9"}
        assert "give this node a key of its cluster" in caplog.text
        ring.use(ring.install(NEW))
        await cluster.settle([*others, back])


@simulated
async def test_replayed_datagrams_change_nothing(seed: int) -> None:
    async with open_cluster() as cluster:
        nodes, _ = await start_sealed(cluster, 4)
        await trio.sleep(20)
        recorded = list(cluster.tapped)
        before = [(node.gossiper.members, len(node.recorder.refused)) for node in nodes]
        mallory = await cluster.network.at("mallory").bind(Address("mallory", PORT))
        for payload, to in recorded:
            await mallory.datagrams.send(payload, to)
        await trio.sleep(1)
        for node, (members, _) in zip(nodes, before, strict=True):
            assert node.gossiper.members == members
            assert {reason for _, reason in node.recorder.refused} == {"replay"}
        assert sum(len(node.recorder.refused) for node in nodes) == len(recorded)


@simulated
async def test_yesterdays_datagrams_change_nothing_after_a_restart(seed: int) -> None:
    async with open_cluster() as cluster:
        await start_sealed(cluster, 3)
        await trio.sleep(10)
        recorded = list(cluster.tapped)
        await trio.sleep(600)
        fresh = await cluster.start("n9", keyring=Keyring([OLD]), profile=LOCAL)
        mallory = await cluster.network.at("mallory").bind(Address("mallory", PORT))
        for payload, _ in recorded:
            await mallory.datagrams.send(payload, fresh.address)
        await trio.sleep(1)
        assert fresh.sees() == {"n9"}
        assert {reason for _, reason in fresh.recorder.refused} == {"time"}


@simulated
async def test_a_rolling_restart_takes_a_plain_cluster_to_a_sealed_one_and_loses_nobody(seed: int) -> None:
    stages = [None, Sealing.ACCEPT, Sealing.PREFER, Sealing.REQUIRE]
    async with open_cluster() as cluster:
        nodes = [await cluster.start(f"n{n}", join=["n0"] if n else [], profile=LOCAL) for n in range(4)]
        await cluster.settle(nodes)
        for generation, (_, sealing) in enumerate(pairwise(stages), start=2):
            assert sealing is not None
            for place, node in enumerate(nodes):
                await node.gossiper.leave()
                cluster.crash(node)
                nodes[place] = await cluster.start(
                    node.name, generation=generation, keyring=Keyring([OLD]), sealing=sealing, profile=LOCAL,
                    join=[nodes[place - 1].name],
                )  # fmt: skip
                await cluster.settle(nodes)
                await trio.sleep(10)
                assert nobody_was_lost(nodes)
                assert all(node.recorder.refused == [] for node in nodes)
        assert all(payload[0] == 0xD1 for payload, _ in cluster.tapped[-50:])
