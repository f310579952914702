"""Nodes that come and go, planned or not; `pytest test_moves.py --swimring-real` runs this on real processes, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from buyers import Buyers

if TYPE_CHECKING:
    from shop import Shop

    from swimring.testing import Cluster


async def test_new_nodes_lose_nothing(cluster: Cluster, shop: Shop) -> None:
    await cluster.start(3, shop.service, beside=shop.beside)
    await cluster.settled()
    buyers = Buyers(shop, carts=4)
    async with cluster.load(buyers.buy, rate=100, check=buyers.is_there) as load:
        await trio.sleep(1)
        await cluster.start(1, shop.service, beside=shop.beside)
        await trio.sleep(2)
        await cluster.start(1, shop.service, beside=shop.beside)
        await trio.sleep(2)
    assert load.acknowledged > 100
    assert load.lost == 0, f"{load!r}: {load.lost_numbers}"


async def test_nodes_that_come_and_go_lose_nothing(cluster: Cluster, shop: Shop) -> None:
    nodes = await cluster.start(3, shop.service, beside=shop.beside)
    await cluster.settled()
    buyers = Buyers(shop)
    async with cluster.load(buyers.buy, rate=20, check=buyers.is_there) as load:
        await trio.sleep(3)
        await cluster.start(1, shop.service, beside=shop.beside)
        await trio.sleep(3)
        await nodes[0].drain()
        await trio.sleep(3)
        nodes[1].crash()
        await trio.sleep(3)
        await nodes[1].restart()
        await trio.sleep(3)
    assert load.acknowledged > 200
    assert load.lost == 0, f"{load!r}: {load.lost_numbers}"
