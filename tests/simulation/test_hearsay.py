"""What others say of deaths accuses and never kills; the rule about accusers that overdo it does not stop it."""

from __future__ import annotations

import pytest
import trio

from swimring.swim import Profile, Status
from tests.gossip.nodes import open_cluster, simulated

LAN = Profile.lan()


@pytest.mark.parametrize("lost", [False, True], ids=["killed", "machines lost"])
@pytest.mark.parametrize("apart", [8, 60])
@simulated
async def test_after_a_partition_all_agree_on_the_many_that_died_on_the_other_side(
    apart: float, lost: bool, seed: int
) -> None:
    async with open_cluster() as cluster:
        nodes = await cluster.start_all(10, profile=LAN)
        here, there, dying = nodes[:3], nodes[3:5], nodes[5:]
        with cluster.network.partition([node.name for node in here], [node.name for node in (*there, *dying)]):
            for node in dying:
                (cluster.lose if lost else cluster.crash)(node)
            await trio.sleep(apart)
        healed = trio.current_time()
        await cluster.wait_status([*here, *there], [node.name for node in dying], Status.DEAD)
        await cluster.settle([*here, *there])
        assert trio.current_time() - healed < 30
