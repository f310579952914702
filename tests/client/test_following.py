"""A client follows one node, and another one when that is gone; the same on asyncio and on Trio."""

from __future__ import annotations

import anyio
import pytest

from swimring.client import connect
from swimring.swim import Status

from .tiny import ASK, key_of, tiny_cluster

pytestmark = pytest.mark.anyio


async def test_a_client_hears_of_a_change_without_asking() -> None:
    async with tiny_cluster() as cluster:
        first = await cluster.start("a")
        async with connect(first.address) as mesh:
            await first.wait_followed()
            asked = first.ring_asked
            second = await cluster.start("b")
            ring = await mesh.wait_ring("hello", nodes=2)
            assert mesh.ring() is ring
            assert mesh.lookup(key_of(second, first)).name == "b"
            cluster.bury(second, Status.LEFT)
            await mesh.wait_ring("hello", nodes=1)
            assert first.ring_asked == asked
            assert first.followers == 1


async def test_when_the_followed_node_is_gone_another_one_is_followed() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        async with connect(first.address) as mesh:
            await first.wait_followed()
            await first.kill()
            cluster.bury(first)
            await second.wait_followed()
            await cluster.start("c")
            await mesh.wait_ring("hello", nodes=2)


async def test_a_client_that_lost_everybody_finds_them_again_at_the_addresses_it_began_with() -> None:
    async with tiny_cluster() as cluster:
        first, late = await cluster.start("a"), await cluster.start("late", joined=False)
        async with connect(first.address, late.address) as mesh:
            await first.kill()
            cluster.bury(first)
            cluster.members["late"] = late.member
            await late.wait_followed()
            assert await mesh.request({**ASK, "key": "k"}) == "late"


async def test_a_node_whose_news_make_no_sense_is_not_followed() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        async with connect(first.address) as mesh:
            await first.wait_followed()
            cluster.state = lambda: [{"members": "nonsense"}]  # type: ignore[method-assign]
            await first.kill()
            cluster.bury(first)
            with anyio.move_on_after(0.2):
                await second.wait_followed()
            assert mesh.lookup("k").name in {"a", "b"}, "what is known stays"


async def test_leaving_the_block_ends_the_subscription_and_does_not_wait_for_anything() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        async with connect(node.address):
            await node.wait_followed()
            began = anyio.current_time()
        assert anyio.current_time() - began < 0.2
        await node.wait_unconnected()
        assert node.followers == 0
