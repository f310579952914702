"""How the simulated network differs from real ones where docs/concepts/simulation.md says it does.

The rest of that table is in tests/contracts/test_transport.py, test_network.py, test_more_faults.py and test_clocks.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import trio

from swimring.identity import Address
from swimring.testing import SimulatedNetwork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.testing import SimulatedStream

Simulate: TypeAlias = Callable[[Callable[[SimulatedNetwork], Awaitable[None]]], None]


@asynccontextmanager
async def connected(network: SimulatedNetwork) -> AsyncIterator[tuple[SimulatedStream, trio.abc.Stream]]:
    binding = await network.at("b").bind(Address("b", 7979))
    dialled = await network.at("a").connect(binding.address)
    accepted, _ = await binding.listener.accept()
    try:
        yield dialled, accepted
    finally:
        for stream in (dialled, accepted):
            await trio.aclose_forcefully(stream)
        binding.close()


def test_some_sendings_arrive_in_two_pieces_and_neighbours_that_wait_are_read_together(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        async with connected(network) as (dialled, accepted):
            split = 0
            for _ in range(400):
                await dialled.send_all(b"12345678")
                await trio.sleep(0.1)
                first = await accepted.receive_some(4)
                rest = await accepted.receive_some()
                assert first + rest == b"12345678"  # both pieces have arrived by then
            for _ in range(400):
                await dialled.send_all(b"12345678")
                piece = await accepted.receive_some()
                if len(piece) < 8:
                    split += 1
                    piece += await accepted.receive_some()
                assert piece == b"12345678"
            assert 5 < split < 40

    simulate(rule)


def test_a_connection_that_is_silent_for_a_day_is_not_given_up(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        async with connected(network) as (dialled, accepted):
            with network.partition("a", "b"):
                await dialled.send_all(b"patience")
                await trio.sleep(24 * 3600)
            assert await accepted.receive_some() == b"patience"

    simulate(rule)


def test_the_other_direction_of_a_connection_cut_one_way_goes_on(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        async with connected(network) as (dialled, accepted):
            with network.one_way("a", "b"):
                for _ in range(100):
                    await accepted.send_all(bytes(1000))
                    await trio.sleep(10)
                    assert await dialled.receive_some(1000)

    simulate(rule)


def test_any_size_takes_the_same_time_unless_there_is_a_bandwidth(simulate: Simulate) -> None:
    async def rule(network: SimulatedNetwork) -> None:
        async with connected(network) as (dialled, accepted):
            for size in (1, 100_000):
                began = trio.current_time()
                await dialled.send_all(bytes(size))
                received = 0
                while received < size:
                    received += len(await accepted.receive_some())
                assert trio.current_time() - began < 0.003

    simulate(rule)


def test_no_virtual_time_passes_while_code_computes(simulate: Simulate) -> None:
    async def rule(_network: SimulatedNetwork) -> None:
        began = trio.current_time()
        for number in range(10_000):
            hashlib.sha256(bytes(number)).digest()
        assert trio.current_time() == began

    simulate(rule)
