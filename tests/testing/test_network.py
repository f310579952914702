"""The rules of the simulated network itself: faults, crashes, bounds, counters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import pytest
import trio

from swimring.errors import ConfigError
from swimring.identity import Address
from swimring.testing import (
    PASS,
    Latency,
    Packet,
    PacketKind,
    SimulatedNetwork,
    SimulatedStream,
    Verdict,
    open_simulated_network,
)

if TYPE_CHECKING:
    from swimring.net import Binding, Datagrams

Simulate: TypeAlias = Callable[[Callable[[SimulatedNetwork], Awaitable[None]]], None]

A, B, C = Address("a", 7979), Address("b", 7979), Address("c", 7979)


async def bind(network: SimulatedNetwork, *addresses: Address) -> list[Binding]:
    return [await network.at(address.host).bind(address) for address in addresses]


async def connect(network: SimulatedNetwork, source: str, to: Binding) -> tuple[SimulatedStream, trio.abc.Stream]:
    dialled = await network.at(source).connect(to.address)
    accepted, _ = await to.listener.accept()
    return dialled, accepted


async def arrivals(datagrams: Datagrams) -> list[bytes]:
    """All that arrives within ten virtual seconds."""
    received: list[bytes] = []
    with trio.move_on_after(10):
        while True:
            received += [payload for payload, _ in await datagrams.receive()]
    return received


# -------------------------------------------------------------------------------------------------------- faults


def test_a_partition_loses_datagrams_until_it_is_lifted(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b, c = await bind(network, A, B, C)
        with network.partition("a", {"b"}):
            await a.datagrams.send(b"1", B)
            await b.datagrams.send(b"1", A)
            await c.datagrams.send(b"from c", B)
            assert await arrivals(a.datagrams) == []
            assert await arrivals(b.datagrams) == [b"from c"]
        await a.datagrams.send(b"2", B)
        assert await arrivals(b.datagrams) == [b"2"]

    simulate(rule)


def test_a_fault_is_lifted_when_its_block_ends_by_an_exception(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b = await bind(network, A, B)
        with pytest.raises(ZeroDivisionError), network.isolate("a"):
            raise ZeroDivisionError
        await a.datagrams.send(b"x", B)
        assert await arrivals(b.datagrams) == [b"x"]

    simulate(rule)


def test_equal_faults_are_lifted_one_by_one_in_any_order(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b = await bind(network, A, B)
        first, second = network.isolate("a"), network.isolate("a")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        await a.datagrams.send(b"1", B)
        second.__exit__(None, None, None)
        await a.datagrams.send(b"2", B)
        assert await arrivals(b.datagrams) == [b"2"]

    simulate(rule)


def test_one_way_cuts_one_direction_only(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b = await bind(network, A, B)
        with network.one_way("a", "b"):
            await a.datagrams.send(b"there", B)
            await b.datagrams.send(b"back", A)
            assert await arrivals(b.datagrams) == []
            assert await arrivals(a.datagrams) == [b"back"]

    simulate(rule)


def test_isolated_hosts_still_reach_each_other(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b, c = await bind(network, A, B, C)
        with network.isolate(["a", "b"]):
            await a.datagrams.send(b"inside", B)
            await a.datagrams.send(b"outside", C)
            assert await arrivals(b.datagrams) == [b"inside"]
            assert await arrivals(c.datagrams) == []

    simulate(rule)


def test_loss_and_duplication_are_chances(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b = await bind(network, A, B)
        with network.loss(0.3):
            for number in range(1000):
                await a.datagrams.send(b"%d" % number, B)
            assert 650 < len(await arrivals(b.datagrams)) < 750
        with network.duplication(0.2):
            for _ in range(500):
                await a.datagrams.send(b"x", B)
            assert 570 < len(await arrivals(b.datagrams)) < 630

    simulate(rule)


def test_loss_delays_streams_but_loses_nothing_of_them(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        (b,) = await bind(network, B)
        dialled, accepted = await connect(network, "a", b)
        began = trio.current_time()
        with network.loss(0.5):
            for number in range(100):
                await dialled.send_all(bytes([number]))
            await dialled.send_eof()
            received = b""
            while part := await accepted.receive_some():
                received += part
        assert received == bytes(range(100))
        assert trio.current_time() - began > 0.2

    simulate(rule)


def test_latency_reorders_datagrams_and_is_what_was_asked_for(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b = await bind(network, A, B)
        began = trio.current_time()
        with network.latency(0.5, 0.6):
            for number in range(20):
                await a.datagrams.send(b"%d" % number, B)
            first = await b.datagrams.receive()
            assert 0.5 <= trio.current_time() - began <= 0.6
            received = [payload for payload, _ in first] + await arrivals(b.datagrams)
        assert received != [b"%d" % number for number in range(20)]
        assert sorted(received) == sorted(b"%d" % number for number in range(20))

    simulate(rule)


def test_a_refusing_host_refuses_dials_and_keeps_its_connections(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        (b,) = await bind(network, B)
        dialled, accepted = await connect(network, "a", b)
        with network.refuse("b"):
            with pytest.raises(ConnectionRefusedError):
                await network.at("a").connect(B)
            await dialled.send_all(b"still here")
            assert await accepted.receive_some() == b"still here"
        await network.at("a").connect(B)

    simulate(rule)


def test_a_fault_of_your_own_is_a_rule_about_packets(simulate: Simulate) -> None:
    class NoDatagramsFromA:
        def judge(self, packet: Packet) -> Verdict:
            return Verdict(cut=True) if packet.source == "a" and packet.kind is PacketKind.DATAGRAM else PASS

    async def rule(network: SimulatedNetwork) -> None:
        a, b = await bind(network, A, B)
        with network.inject(NoDatagramsFromA()):
            await a.datagrams.send(b"x", B)
            await connect(network, "a", b)
            assert await arrivals(b.datagrams) == []

    simulate(rule)


def test_faults_leave_the_loopback_of_a_host_alone(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        (a,) = await bind(network, A)
        with network.isolate("a"), network.loss(1):
            await a.datagrams.send(b"myself", A)
            assert await arrivals(a.datagrams) == [b"myself"]

    simulate(rule)


@pytest.mark.parametrize("wrong", [-0.1, 1.1])
def test_a_chance_outside_0_to_1_is_a_config_error(simulate: Simulate, wrong: float) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        with pytest.raises(ConfigError):
            network.loss(wrong)
        with pytest.raises(ConfigError):
            Latency(low=0.2, high=0.1)

    simulate(rule)


# ------------------------------------------------------------------------------------------- streams and partitions


def test_a_dial_into_a_partition_hangs_until_it_heals(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        await bind(network, B)
        began = trio.current_time()

        async def dial() -> None:
            await network.at("a").connect(B)
            assert 20 < trio.current_time() - began < 21

        async with trio.open_nursery() as nursery:
            with network.partition("a", "b"):
                nursery.start_soon(dial)
                await trio.sleep(20)

    simulate(rule)


def test_a_dial_that_nobody_answers_gives_up_after_127_seconds(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        await bind(network, B)
        began = trio.current_time()
        with network.partition("a", "b"), pytest.raises(TimeoutError):
            await network.at("a").connect(B)
        assert trio.current_time() - began == 127

    simulate(rule)


def test_a_dial_to_a_host_that_never_was_has_no_route(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        with pytest.raises(OSError, match="no route"):
            await network.at("a").connect(B)

    simulate(rule)


def test_streams_stall_in_a_partition_and_go_on_where_they_were(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        (b,) = await bind(network, B)
        dialled, accepted = await connect(network, "a", b)
        with network.partition("a", "b"):
            await dialled.send_all(b"one ")
            await dialled.send_all(b"two")
            await dialled.send_eof()
            with trio.move_on_after(60) as stalled:
                await accepted.receive_some()
            assert stalled.cancelled_caught
        received = b""
        while part := await accepted.receive_some():
            received += part
        assert received == b"one two"

    simulate(rule)


# ------------------------------------------------------------------------------------------------ crash and freeze


def test_a_crash_resets_connections_and_refuses_dials(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        (b,) = await bind(network, B)
        dialled, accepted = await connect(network, "a", b)
        network.crash("b")
        with pytest.raises(trio.BrokenResourceError):
            await dialled.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await dialled.send_all(b"x")
        with pytest.raises(ConnectionRefusedError):
            await network.at("a").connect(B)
        with pytest.raises(trio.ClosedResourceError):
            await accepted.send_all(b"a last word of the dead")
        with pytest.raises(trio.ClosedResourceError):
            await b.datagrams.send(b"a last word of the dead", A)

    simulate(rule)


def test_the_network_of_a_life_that_is_over_is_down(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        await bind(network, B)
        before = network.at("a")
        network.crash("a")
        with pytest.raises(OSError, match="over"):
            await before.connect(B)
        with pytest.raises(OSError, match="over"):
            await before.bind(A)
        await network.at("a").connect(B)

    simulate(rule)


def test_a_dial_under_way_when_its_host_crashes_leaves_nothing_open(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        (b,) = await bind(network, B)

        async def dial() -> None:
            with pytest.raises(OSError, match="over"):
                await network.at("a").connect(B)

        async with trio.open_nursery() as nursery:
            with network.latency(1, 1):
                nursery.start_soon(dial)
                await trio.sleep(1.5)
                network.crash("a")
        accepted, _ = await b.listener.accept()
        with pytest.raises(trio.BrokenResourceError):
            await accepted.receive_some()

    simulate(rule)


def test_a_crashed_host_can_bind_the_same_port_in_its_next_life(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b = await bind(network, A, B)
        network.crash("b")
        (again,) = await bind(network, B)
        await a.datagrams.send(b"welcome", B)
        assert await arrivals(again.datagrams) == [b"welcome"]
        b.close()  # of the earlier life: must not take the new binding away
        await a.datagrams.send(b"back", B)
        assert await arrivals(again.datagrams) == [b"back"]

    simulate(rule)


def test_a_frozen_host_is_silent_and_its_connections_are_half_open(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        (b,) = await bind(network, B)
        dialled, _ = await connect(network, "a", b)
        network.freeze("b")
        await dialled.send_all(b"anybody?")
        with trio.move_on_after(600) as patience:
            await dialled.receive_some()
        assert patience.cancelled_caught
        with pytest.raises(TimeoutError):
            await network.at("a").connect(B)

    simulate(rule)


def test_the_next_life_of_a_frozen_host_resets_what_it_does_not_know(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        (b,) = await bind(network, B)
        talking, _ = await connect(network, "a", b)
        idle, _ = await connect(network, "a", b)
        network.freeze("b")
        await talking.send_all(b"anybody?")
        await bind(network, B)
        with pytest.raises(trio.BrokenResourceError):
            await talking.receive_some()
        with trio.move_on_after(600) as patience:
            await idle.receive_some()  # half-open until somebody sends
        assert patience.cancelled_caught
        await idle.send_all(b"still there?")
        with pytest.raises(trio.BrokenResourceError):
            await idle.receive_some()

    simulate(rule)


def test_only_a_running_host_can_end(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        with pytest.raises(ConfigError):
            network.crash("nobody")
        network.at("a")
        network.crash("a")
        with pytest.raises(ConfigError):
            network.freeze("a")

    simulate(rule)


# --------------------------------------------------------------------------------------------- bounds and counters


def test_datagrams_beyond_the_room_of_a_socket_are_lost(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b = await bind(network, A, B)
        for _ in range(2000):
            await a.datagrams.send(b"x", B)
        await trio.sleep(1)
        assert len(await arrivals(b.datagrams)) == 1024
        assert network.statistics("b").datagrams_received == 1024

    simulate(rule)


def test_dials_beyond_the_backlog_wait_for_an_accept(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        (b,) = await bind(network, B)
        async with trio.open_nursery() as nursery:
            for _ in range(129):
                nursery.start_soon(network.at("a").connect, B)
            await trio.sleep(10)
            assert len(nursery.child_tasks) == 1
            await b.listener.accept()
            await trio.sleep(10)
            assert not nursery.child_tasks

    simulate(rule)


def test_a_host_counts_what_it_sends_and_receives(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        a, b = await bind(network, A, B)
        await a.datagrams.send(b"12345", B)
        dialled, accepted = await connect(network, "a", b)
        await dialled.send_all(b"1234567")
        while network.statistics("b").stream_bytes_received < 7:
            await accepted.receive_some()
        assert (await arrivals(b.datagrams)) == [b"12345"]
        sent, received = network.statistics("a"), network.statistics("b")
        assert (sent.datagrams_sent, sent.datagram_bytes_sent, received.datagrams_received) == (1, 5, 1)
        assert (sent.stream_bytes_sent, received.stream_bytes_received, sent.connections_dialled) == (7, 7, 1)

    simulate(rule)


# ------------------------------------------------------------------------------------------------------- addresses


def test_a_loopback_binding_is_reached_from_its_own_host_only(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        loopback = Address("127.0.0.1", 7979)
        mine, others = await bind_at(network, "a", loopback), await bind_at(network, "b", loopback)
        await others.datagrams.send(b"to myself", loopback)
        assert await others.datagrams.receive() == [(b"to myself", loopback)]
        await others.datagrams.send(b"to a", A)
        assert await arrivals(mine.datagrams) == []
        with pytest.raises(ConnectionRefusedError):
            await network.at("b").connect(A)
        await network.at("a").connect(loopback)

    async def bind_at(network: SimulatedNetwork, host: str, address: Address) -> Binding:
        return await network.at(host).bind(address)

    simulate(rule)


def test_a_wildcard_binding_is_reached_by_the_name_of_its_host(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        everywhere = await network.at("b").bind(Address("0.0.0.0", 7979))
        (a,) = await bind(network, A)
        await a.datagrams.send(b"x", B)
        assert await everywhere.datagrams.receive() == [(b"x", A)]
        await everywhere.datagrams.send(b"y", A)
        assert await a.datagrams.receive() == [(b"y", B)]

    simulate(rule)


def test_a_host_binds_its_own_addresses_only(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        network.at("b")
        with pytest.raises(OSError, match="not a"):
            await network.at("a").bind(B)

    simulate(rule)


def test_a_name_stands_for_the_hosts_it_was_given(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        network.set_name("seeds.example", "a", "b")
        assert await network.at("c").resolve(Address("seeds.example", 7979)) == [A, B]
        network.set_name("seeds.example")
        with pytest.raises(OSError):
            await network.at("c").resolve(Address("seeds.example", 7979))

    simulate(rule)


async def test_outside_a_simulation_a_seed_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match="seed"):
        async with open_simulated_network():
            pass
    async with open_simulated_network(seed=1) as network:
        assert network.seed == 1
