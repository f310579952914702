"""Seeds: the loopback convention, and addresses a user wrote down."""

from __future__ import annotations

import pytest

from swimring.discovery import LOOPBACK_PORTS, StaticSeeds, loopback_seeds, take_loopback_port
from swimring.errors import ConfigError
from swimring.identity import Address
from swimring.testing import open_simulated_network

A, B = Address("a", 7979), Address("b", 7979)


def test_the_loopback_seeds_are_ports_7979_to_7998_without_our_own() -> None:
    seeds = loopback_seeds(Address("127.0.0.1", 7981))
    assert [seed.port for seed in seeds] == [7979, 7980, *range(7982, 7999)]
    assert {seed.host for seed in seeds} == {"127.0.0.1"}
    assert len(loopback_seeds(Address("10.0.0.1", 7981))) == 20


async def test_nodes_of_one_machine_take_the_loopback_ports_in_order() -> None:
    async with open_simulated_network(seed=1) as network:
        machine = network.at("a")
        first, second = await take_loopback_port(machine), await take_loopback_port(machine)
        assert (first.address.port, second.address.port) == (7979, 7980)
        first.close()
        assert (await take_loopback_port(machine)).address.port == 7979


async def test_a_port_taken_for_datagrams_or_streams_alone_is_passed_over() -> None:
    async with open_simulated_network(seed=1) as network:
        machine = network.at("a")
        (await take_loopback_port(machine)).listener.close()
        (await take_loopback_port(machine)).datagrams.close()
        assert (await take_loopback_port(machine)).address.port == 7981


async def test_twenty_taken_ports_are_a_config_error_that_says_what_to_do() -> None:
    async with open_simulated_network(seed=1) as network:
        machine = network.at("a")
        taken = [await take_loopback_port(machine) for _ in LOOPBACK_PORTS]
        assert len({binding.address for binding in taken}) == 20
        with pytest.raises(ConfigError, match=r"7979 to 7998.*taken"):
            await take_loopback_port(machine)


async def test_static_seeds_are_looked_up_again_each_time() -> None:
    async with open_simulated_network(seed=1) as network:
        seeds = StaticSeeds([Address("seeds.example", 7979)], network=network.at("me"))
        assert await seeds.addresses() == ()
        network.set_name("seeds.example", "a")
        assert await seeds.addresses() == (A,)
        network.set_name("seeds.example", "a", "b")
        assert await seeds.addresses() == (A, B)


async def test_static_seeds_leave_out_ourselves_and_duplicates() -> None:
    async with open_simulated_network(seed=1) as network:
        network.set_name("seeds.example", "a", "b")
        network.at("b")
        seeds = StaticSeeds([B, Address("seeds.example", 7979)], network=network.at("a"), own=[A])
        assert await seeds.addresses() == (B,)
