"""Nodes on real sockets whose addresses are not IPv4 literals: IPv6, and host names that are advertised."""

from __future__ import annotations

import trio

from swimring.node import Node, open_node
from swimring.service import Request, Service
from swimring.swim import Status

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
