"""Faults of links and connections, seen from the bytes that arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import ConfigError
from swimring.identity import Address
from swimring.testing import PacketKind, open_sim_cluster, open_simulated_network, run_simulation

if TYPE_CHECKING:
    from swimring.net import Binding
    from swimring.testing import SimulatedNetwork


async def _ends(network: SimulatedNetwork) -> tuple[Binding, Binding]:
    return tuple([await network.at(name).bind(Address(name, 7979)) for name in "ab"])  # type: ignore[return-value]


async def _received(binding: Binding, seconds: float) -> list[bytes]:
    found: list[bytes] = []
    with trio.move_on_after(seconds):
        while True:
            found += [payload for payload, _source in await binding.datagrams.receive()]
    return found


def test_reordered_datagrams_all_arrive_and_some_are_overtaken(seed: int) -> None:
    async def scenario() -> list[bytes]:
        async with open_simulated_network() as network:
            a, b = await _ends(network)
            with network.reordering(0.3):
                for number in range(100):
                    await a.datagrams.send(bytes([number]), b.address)
                    await trio.sleep(0.005)
            return await _received(b, 5)

    found = run_simulation(scenario, seed=seed)
    assert sorted(found) == [bytes([number]) for number in range(100)] != found


def test_latency_has_a_tail_if_it_is_given_one(seed: int) -> None:
    async def scenario() -> list[float]:
        async with open_sim_cluster() as cluster:
            one, _two = await cluster.start(2)
            journeys = []
            with cluster.latency(0.01, 0.02, one, tail=0.1):
                for _ in range(300):
                    verdict = cluster.network.fabric.judge("n1", "n2", PacketKind.DATAGRAM)
                    journeys.append(cluster.network.fabric.journey("n1", "n2", verdict))
            assert cluster.history.faults[0].text == "latency 0.01 to 0.02 s and 0.1 s on average at n1"
            return sorted(journeys)

    journeys = run_simulation(scenario, seed=seed)
    assert journeys[0] >= 0.01
    assert sum(journeys) / 300 == pytest.approx(0.115, rel=0.3)
    assert journeys[-1] > 0.3


def test_a_corrupted_datagram_differs_in_one_bit(seed: int) -> None:
    async def scenario() -> list[bytes]:
        async with open_simulated_network() as network:
            a, b = await _ends(network)
            with network.corruption(0.5, "a"):
                for _ in range(100):
                    await a.datagrams.send(bytes(32), b.address)
            return await _received(b, 5)

    found = run_simulation(scenario, seed=seed)
    flipped = [int.from_bytes(payload, "big").bit_count() for payload in found]
    assert len(found) == 100
    assert set(flipped) == {0, 1}
    assert 20 < sum(flipped) < 80


def test_bandwidth_makes_datagrams_queue_and_drops_those_that_would_wait_too_long(seed: int) -> None:
    async def scenario() -> tuple[float, int]:
        async with open_simulated_network() as network:
            a, b = await _ends(network)
            with network.bandwidth(10_000):
                for _ in range(30):
                    await a.datagrams.send(bytes(1000), b.address)
                began = trio.current_time()
                first = await b.datagrams.receive()
                took = trio.current_time() - began
                return took, len(first) + len(await _received(b, 10))

    took, arrived = run_simulation(scenario, seed=seed)
    assert took == pytest.approx(0.1, abs=0.01)
    assert arrived == 11  # a second's worth waits, and the one that is leaving


def test_bandwidth_slows_a_stream_and_loses_nothing(seed: int) -> None:
    async def scenario() -> tuple[float, int]:
        async with open_simulated_network() as network:
            _a, b = await _ends(network)
            with network.bandwidth(10_000):
                began = trio.current_time()
                stream = await network.at("a").connect(b.address)
                accepted, _source = await b.listener.accept()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(stream.send_all, bytes(50_000))
                    size = 0
                    while size < 50_000:
                        size += len(await accepted.receive_some())
            return trio.current_time() - began, size

    took, size = run_simulation(scenario, seed=seed)
    assert size == 50_000
    assert took == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize("rate", [0, -1])
def test_a_link_without_bandwidth_is_a_partition_and_refused(rate: float) -> None:
    async def scenario() -> None:
        async with open_simulated_network() as network:
            with pytest.raises(ConfigError, match="bytes per second"):
                network.bandwidth(rate)

    run_simulation(scenario, seed=0)


def test_half_open_connections_carry_nothing_and_new_ones_do(seed: int) -> None:
    async def scenario() -> None:
        async with open_simulated_network() as network:
            _a, b = await _ends(network)
            old = await network.at("a").connect(b.address)
            old_end, _source = await b.listener.accept()
            with network.half_open("a", "b"):
                await old.send_all(b"lost for now")
                with trio.move_on_after(60) as scope:
                    await old_end.receive_some()
                assert scope.cancelled_caught
                new = await network.at("a").connect(b.address)
                new_end, _source = await b.listener.accept()
                await new.send_all(b"hello")
                assert await new_end.receive_some() == b"hello"
            assert await old_end.receive_some() == b"lost for now"

    run_simulation(scenario, seed=seed)


def test_a_flapping_partition_comes_and_goes(seed: int) -> None:
    async def scenario() -> list[bool]:
        async with open_sim_cluster() as cluster:
            one, two = await cluster.start(2)
            passed = []
            async with cluster.flapping(one, two, interval=10):
                for _ in range(4):
                    await trio.sleep(5)
                    passed.append(not cluster.network.fabric.judge("n1", "n2", PacketKind.DATAGRAM).cut)
                    await trio.sleep(5)
            assert [fault.text for fault in cluster.history.faults][-2:] == [
                "partition n1 | n2 that flaps every 10 s",
                "end of: partition n1 | n2 that flaps every 10 s",
            ]
            return passed

    assert run_simulation(scenario, seed=seed) == [False, True, False, True]


def test_a_fault_names_its_nodes_also_if_they_can_be_counted_only_once() -> None:
    async def scenario() -> list[str]:
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(2)
            for fault in (
                cluster.loss(0.1, (node for node in nodes)),
                cluster.refuse(node for node in nodes),
                cluster.full_disk(node for node in nodes),
                cluster.clock_skew(5, (node for node in nodes)),
            ):
                with fault:
                    pass
            return [happening.text for happening in cluster.history.faults if happening.text.endswith(" at n1 n2")]

    assert len(run_simulation(scenario, seed=1)) == 8
