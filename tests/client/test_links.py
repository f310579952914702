"""The connections of a client: bounded, shared, paused after a failure, and ended when the other side is silent."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from swimring.client.links import Links
from swimring.client.message import read_message
from swimring.errors import ConnectionLost, Unreachable
from swimring.identity import Address, NodeId
from swimring.mux import Limits

from .tiny import Heard, tiny_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.client.link import Link
    from swimring.swim import Member

pytestmark = pytest.mark.anyio

ASK = read_message({"ns": "hello", "cmd": "greet", "key": "k"})


@asynccontextmanager
async def open_links(limits: Limits | None = None) -> AsyncIterator[Links]:
    async with anyio.create_task_group() as tasks:
        links = Links(tasks, me=NodeId("client-1", 0), limits=limits or Limits(), rng=random.Random(1))
        links.settle_on("hello")
        try:
            yield links
        finally:
            links.close()
            tasks.cancel_scope.cancel()


async def test_all_who_want_a_node_share_one_dial() -> None:
    got: list[Link] = []
    async with tiny_cluster() as cluster, open_links() as links:
        node = await cluster.start("a")

        async def get() -> None:
            got.append(await links.to(node.member))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(get)
        assert len(set(map(id, got))) == 1
        assert len(node.hellos) == 1


async def test_a_caller_that_gives_up_does_not_stop_the_dial_for_the_others() -> None:
    async with tiny_cluster() as cluster, open_links() as links:
        node = await cluster.start("a")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await links.to(node.member)
        assert (await links.to(node.member)).usable
        assert len(node.hellos) == 1


async def test_after_a_failed_dial_the_next_one_waits_for_its_pause() -> None:
    async with tiny_cluster() as cluster, open_links(Limits(redial_after=60, redial_at_most=60)) as links:
        node = await cluster.start("a")
        await node.kill()
        with pytest.raises(Unreachable, match="connection refused") as first:
            await links.to(node.member)
        with pytest.raises(Unreachable, match="a moment ago") as second:
            await links.to(node.member)
        for error in (first.value, second.value):
            assert error.retry_after is not None
            assert 29 < error.retry_after <= 60
        moved = await cluster.start("a")
        assert (await links.to(moved.member)).usable, "another address is another try"


async def test_a_member_that_claims_to_be_at_what_is_no_host_name_ends_no_other_call() -> None:
    async with tiny_cluster() as cluster, open_links() as links:
        node = await cluster.start("a")
        with pytest.raises(Unreachable, match="no such host"):
            await links.to(replace(node.member, name="b", address=Address("ä_b", 1)))
        assert (await links.to(node.member)).usable


async def test_another_node_at_the_address_of_a_member_is_not_that_member() -> None:
    async with tiny_cluster() as cluster, open_links() as links:
        node = await cluster.start("a")
        with pytest.raises(Unreachable, match="found a there"):
            await links.to(replace(node.member, name="b"))


async def test_an_earlier_life_at_the_address_of_a_member_is_not_that_member() -> None:
    async with tiny_cluster() as cluster, open_links() as links:
        node = await cluster.start("a")
        with pytest.raises(Unreachable, match="earlier generation"):
            await links.to(replace(node.member, generation=2))


async def test_a_node_of_another_cluster_refuses_and_its_reason_is_told() -> None:
    async with tiny_cluster("other") as cluster, open_links() as links:
        node = await cluster.start("a")
        with pytest.raises(Unreachable, match="refused: client-1 belongs to another cluster"):
            await links.to(node.member)


async def test_beyond_the_connections_it_may_open_a_client_reaches_nobody_else() -> None:
    async with tiny_cluster() as cluster, open_links(Limits(dials=2)) as links:
        members: list[Member] = [(await cluster.start(name)).member for name in "abc"]
        first = await links.to(members[0])
        await links.to(members[1])
        with pytest.raises(Unreachable, match="all the connections"):
            await links.to(members[2])
        first.close("test")
        await links.wait_idle()


async def test_a_node_that_falls_silent_loses_its_connection_and_the_calls_on_it() -> None:
    async def freeze(heard: Heard) -> object:
        heard.node.freeze()
        await anyio.sleep_forever()
        raise AssertionError

    async with tiny_cluster() as cluster, open_links(Limits(idle_interval=0.05, idle_patience=0.05)) as links:
        node = await cluster.start("a", handler=freeze)
        link = await links.to(node.member)
        with pytest.raises(ConnectionLost, match=r"silent for 0\.1 s"):
            await link.request(ASK)
        assert not link.usable
        assert "silent" in repr(link)


async def test_an_idle_connection_is_kept_alive_by_pings() -> None:
    async with tiny_cluster() as cluster, open_links(Limits(idle_interval=0.02, idle_patience=0.1)) as links:
        node = await cluster.start("a")
        link = await links.to(node.member)
        with anyio.move_on_after(0.3):
            await anyio.sleep_forever()
        assert link.usable
        assert await link.request(ASK) == "a"


async def test_an_answer_that_is_no_cbor_ends_the_connection() -> None:
    async with tiny_cluster() as cluster, open_links() as links:
        node = await cluster.start("a")
        node.raw_reply = b"\xff"
        link = await links.to(node.member)
        with pytest.raises(ConnectionLost, match="malformed"):
            await link.request(ASK)
        assert not link.usable
