"""Nodes on real sockets whose addresses are not IPv4 literals: IPv6, and host names that are advertised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from swimring.node import Node, open_node
from swimring.service import Request, Service
from swimring.swim import MemberFailed, MemberSuspected, Status

from .nodes import PORT, node_at, simulated

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork

kv = Service("kv")


@kv.on("where")
async def where(request: Request) -> str:
    return str(request.node.name)


async def check_they_talk(one: Node, other: Node) -> None:
    with trio.fail_after(10):
        for node in (one, other):
            await node.wait_ring("kv", nodes=2)
        assert await one.peer(other.name).call(where) == other.name
        assert await other.peer(one.name).call(where) == one.name
    assert {member.status for member in one.members} == {Status.ALIVE}


async def test_nodes_on_ipv6_join_and_call_each_other() -> None:
    async with open_node(kv, listen="[::1]:0", name="one", join=["[::1]:1"]) as one:
        assert one.me.address.host == "::1"
        async with open_node(kv, listen="[::1]:0", name="other", join=[str(one.me.address)]) as other:
            await check_they_talk(one, other)


async def test_an_advertised_host_name_is_looked_up_by_whoever_talks_to_it() -> None:
    where_to = "127.0.0.1:0"
    async with open_node(kv, listen=where_to, advertise="localhost", name="one", join=["127.0.0.1:1"]) as one:
        assert one.me.address.host == "localhost"
        join = [f"localhost:{one.me.address.port}"]
        async with open_node(kv, listen=where_to, advertise="localhost", name="other", join=join) as other:
            await check_they_talk(one, other)


@simulated
async def test_an_advertised_name_that_moves_to_another_machine_is_followed(network: SimulatedNetwork) -> None:
    network.set_name("moving", "old")
    advertise = f"moving:{PORT}"
    async with node_at(network, "a", kv) as a:
        async with node_at(network, "old", kv, name="b", advertise=advertise, join=["a"]):
            await a.wait_ring("kv", nodes=2)
        network.set_name("moving", "new")
        async with node_at(network, "new", kv, name="b", advertise=advertise, join=["a"]) as b, a.events() as events:
            await a.wait_ring("kv", nodes=2)
            await trio.sleep(120)  # an old address is believed for a minute
            await check_they_talk(a, b)
            with trio.move_on_after(60):
                async for event in events:
                    assert not isinstance(event, MemberSuspected | MemberFailed)
