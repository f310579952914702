"""Five nodes, a bad minute, and no item that was acknowledged may be missing.

pytest test_carts.py                              # one schedule
pytest test_carts.py --swimring-seeds 500         # 500 of them
pytest --naive --swimring-seeds 200               # the shop with the bug: the lowest seed that shows it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from buyers import Buyers

if TYPE_CHECKING:
    from shop import Shop

    from swimring.testing import Cluster


async def test_a_bad_minute_loses_nothing(cluster: Cluster, shop: Shop) -> None:
    nodes = await cluster.start(5, shop.service, beside=shop.beside)
    await cluster.settled()
    buyers = Buyers(shop)
    async with cluster.load(buyers.buy, rate=20, check=buyers.is_there) as load:
        async with cluster.partition(nodes[:2], nodes[2:]):
            await trio.sleep(20)
        await trio.sleep(5)
        nodes[3].crash()
        await trio.sleep(10)
        await nodes[3].restart()
        await trio.sleep(5)
        await nodes[0].drain()
        await trio.sleep(20)
    assert load.acknowledged > 1000
    assert load.lost == 0, f"{load!r}: {load.lost_numbers}"
    assert load.failed_unexplained == 0
