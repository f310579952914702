"""Finding each other by multicast: on the simulated network, and really on the loopback interface."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from swimring.discovery import MULTICAST_GROUP, Finder, MulticastGroup, open_finder
from swimring.discovery.multicast import MAGIC, MOST_HEARD, MulticastSeeds, decode_call, encode_call, multicast_key
from swimring.errors import ProtocolError, RemoteProtocolError
from swimring.identity import Address
from swimring.net import SocketNetwork, SystemHost
from swimring.testing import SimulatedNetwork, open_simulated_network, run_simulation

if TYPE_CHECKING:
    from swimring.net import Datagrams

KEY = multicast_key("c")
A = Address("a", 7979)


def test_a_call_says_an_address_and_whether_it_is_a_question() -> None:
    for address in (A, Address("2001:db8::1", 1), Address("h" * 253, 65_535)):
        for question in (False, True):
            data = encode_call(address, question=question, key=KEY)
            assert decode_call(data, key=KEY) == (address, question)


def test_a_call_of_another_cluster_version_or_shape_is_refused() -> None:
    data = encode_call(A, question=True, key=KEY)
    others = [
        b"",
        b"\xd1",
        data[:-1],
        data + b"x",
        bytes([MAGIC + 1]) + data[1:],
        encode_call(A, question=True, key=multicast_key("d")),
        encode_call(Address("h" * 254, 1), question=True, key=KEY),
        encode_call(Address("", 1), question=True, key=KEY),
        encode_call(Address("a\0b", 1), question=True, key=KEY),
        encode_call(Address("a b", 1), question=True, key=KEY),
        encode_call(Address("unix:/tmp/a", 1), question=True, key=KEY),
        encode_call(Address("a", 0), question=True, key=KEY),
        encode_call(Address("a", 65_536), question=True, key=KEY),
    ]
    for other in others:
        with pytest.raises(RemoteProtocolError):
            decode_call(other, key=KEY)


@given(st.binary(max_size=64))
def test_any_bytes_are_refused_and_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_call(bytes([MAGIC]) + data, key=KEY)


async def open_one(stack: AsyncExitStack, network: SimulatedNetwork, host: str, cluster: str = "c") -> Finder:
    return await stack.enter_async_context(
        open_finder(
            [MulticastGroup(MULTICAST_GROUP)],
            network=network.at(host),
            host=network.host(host),
            cluster=cluster,
            bound=Address("0.0.0.0", 7979),
            advertised=Address(host, 7979),
        )
    )


def test_members_of_one_cluster_find_each_other_and_nobody_else(seed: int) -> None:
    async def scenario() -> None:
        async with open_simulated_network() as network, AsyncExitStack() as stack:
            a, b = await open_one(stack, network, "a"), await open_one(stack, network, "b")
            stranger = await open_one(stack, network, "x", "another")
            assert await a.addresses() == (Address("b", 7979),)
            assert await b.addresses() == (Address("a", 7979),)
            assert await stranger.addresses() == ()

    run_simulation(scenario, seed=seed)


def test_a_question_to_many_costs_few_answers_and_many_questions_cost_one_a_second() -> None:
    async def scenario() -> None:
        async with open_simulated_network() as network, AsyncExitStack() as stack:
            names = [f"n{number}" for number in range(60)]
            finders = [await open_one(stack, network, name) for name in names]
            await trio.sleep(2)
            async with trio.open_nursery() as nursery:
                for finder in finders:
                    nursery.start_soon(finder.addresses)
            sent = sum(network.statistics(name).datagrams_sent for name in names)
            assert sent <= 60 + 10  # they asked in one instant, before they could hear each other
            await trio.sleep(2)
            for finder in finders[:10]:  # one after the other: each takes 0.3 s, a question is due every second
                await finder.addresses()
            assert sum(network.statistics(name).datagrams_sent for name in names) - sent <= 4 * (1 + 10)

    run_simulation(scenario, seed=1)


def test_what_was_heard_is_bounded_and_forgotten() -> None:
    async def scenario() -> None:
        async with open_simulated_network() as network, AsyncExitStack() as stack:
            finder = await open_one(stack, network, "a")
            mallory = await network.at("m").join_group(MULTICAST_GROUP, interface="0.0.0.0")
            for number in range(MOST_HEARD + 100):
                claimed = encode_call(Address("m", 1 + number), question=False, key=KEY)
                await mallory.send(claimed, MULTICAST_GROUP)
                await trio.sleep(0.01)
            assert len(await finder.addresses()) == MOST_HEARD
            await trio.sleep(601)
            assert await finder.addresses() == ()

    run_simulation(scenario, seed=1)


def test_what_another_machine_calls_loopback_is_no_seed() -> None:
    async def scenario() -> None:
        async with open_simulated_network() as network, AsyncExitStack() as stack:
            finder = await open_one(stack, network, "a")
            other = await network.at("b").join_group(MULTICAST_GROUP, interface="0.0.0.0")
            claimed = encode_call(Address("127.0.0.1", 7980), question=False, key=KEY)
            await other.send(claimed, MULTICAST_GROUP)
            assert await finder.addresses() == ()

    run_simulation(scenario, seed=1)


async def test_processes_on_loopback_find_each_other_by_real_multicast() -> None:
    network, host = SocketNetwork(), SystemHost()
    addresses = [Address("127.0.0.1", port) for port in (7101, 7102)]
    group = Address("239.192.79.80", 7977)  # of this test alone
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        found: list[tuple[Address, ...]] = []
        sockets: list[Datagrams] = []
        for address in addresses:
            datagrams = await network.join_group(group, interface="127.0.0.1")
            stack.callback(datagrams.close)
            sockets.append(datagrams)
            seeds = MulticastSeeds(group=group, datagrams=datagrams, cluster="c", address=address, rng=host.rng)
            nursery.start_soon(seeds.run)
            found.append(await seeds.addresses())
        assert found == [(), (addresses[0],)]
        nursery.cancel_scope.cancel()
