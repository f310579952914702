"""Host names that nobody can tell: a slow resolver costs those who bear the name, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import trio

from swimring.gossip.names import Names
from swimring.identity import Address
from swimring.swim import Profile, Status
from swimring.testing import HostNetwork
from tests.gossip.nodes import PORT, GossipNode, open_cluster, record_of, simulated

LOCAL = Profile.local()
STUCK = "stuck.example"


def let_the_resolver_hang(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Names under ``STUCK`` are never told; the list grows by the time of each attempt."""
    attempts: list[float] = []
    resolve = HostNetwork.resolve

    async def slow(network: HostNetwork, address: Address) -> list[Address]:
        if address.host == STUCK:
            attempts.append(trio.current_time())
            await trio.sleep_forever()
        return await resolve(network, address)

    monkeypatch.setattr(HostNetwork, "resolve", slow)
    return attempts


@simulated
async def test_a_join_does_not_wait_for_a_name_that_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    let_the_resolver_hang(monkeypatch)
    async with open_cluster() as cluster:
        await cluster.start("a", profile=LOCAL)
        me = await cluster.start("me", profile=LOCAL)
        with trio.fail_after(3 * LOCAL.stream_patience):
            assert await me.gossiper.join([Address(STUCK, PORT), Address("a", PORT)]) == 1


@simulated
async def test_a_member_with_a_name_that_nobody_tells_does_not_keep_others_from_being_probed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts = let_the_resolver_hang(monkeypatch)
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(4, profile=LOCAL)
        ghost = replace(record_of(nodes[0], "n1"), name="ghost", address=Address(STUCK, PORT))
        for node in nodes:
            node.gossiper.learn([ghost])
        started = trio.current_time()
        cluster.lose(nodes[3])
        with trio.fail_after(15):
            for node in nodes[:3]:
                await node.wait(partial(_is_dead, node, "n3"))
        # Looked up once in a while, and not for every packet that is meant for it.
        assert len(attempts) <= 3 * (1 + (trio.current_time() - started) // 10) * 2


@simulated
async def test_a_resolver_that_dies_makes_nobody_unreachable_and_delays_no_ack(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(12, profile=LOCAL)
        await trio.sleep(30)

        async def dead(_network: HostNetwork, _address: Address) -> list[Address]:
            await trio.sleep_forever()
            raise AssertionError

        monkeypatch.setattr(HostNetwork, "resolve", dead)
        await trio.sleep(180)
        trips = [rtt for node in nodes for _, rtt in node.recorder.probes]
        assert len(trips) > 12 * 190
        assert max(rtt or 1.0 for rtt in trips) < LOCAL.probe_timeout
        assert all("suspect" not in node.recorder.statuses(other.name) for node in nodes for other in nodes)


@simulated
async def test_a_name_that_was_told_again_counts_a_minute_later() -> None:
    async with open_cluster() as cluster:
        a, b, c = await cluster.start_all(3, profile=LOCAL)
        names = Names(cluster.network.at(a.name))
        name = Address("ring.example", PORT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(names.run)
            with pytest.raises(OSError, match="not known"):
                await names.numeric(name)
            cluster.network.set_name(name.host, b.name)
            await trio.sleep(11)
            with pytest.raises(OSError, match="not known"):
                await names.numeric(name)
            await trio.sleep(1)
            assert await names.numeric(name) == b.address
            cluster.network.set_name(name.host, c.name)
            await trio.sleep(58)
            assert await names.numeric(name) == b.address
            await trio.sleep(2)
            assert await names.numeric(name) == b.address, "nobody waits for the answer"
            await trio.sleep(1)
            assert await names.numeric(name) == c.address
            nursery.cancel_scope.cancel()


def _is_dead(node: GossipNode, name: str) -> bool:
    return name in node.sees(Status.DEAD)
