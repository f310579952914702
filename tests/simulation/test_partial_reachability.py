"""A member that only one other can reach: it may suffer, the others must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.swim import Profile, Status
from tests.gossip.nodes import open_cluster, simulated

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from swimring.testing import SimulatedNetwork

LAN = Profile.lan()


def half_isolated(network: SimulatedNetwork, way: str, one: str, rest: list[str]) -> AbstractContextManager[None]:
    match way:
        case "deaf":
            return network.one_way(rest, one)
        case "mute":
            return network.one_way(one, rest)
        case _:
            return network.partition(one, rest)


@pytest.mark.parametrize("way", ["cut off", "deaf", "mute"])
@simulated
async def test_a_half_isolated_member_makes_nobody_else_fail_and_hardly_anybody_a_suspect(way: str, seed: int) -> None:
    async with open_cluster() as cluster:
        half, contact, *rest = nodes = await cluster.start_all(12, profile=LAN)
        await trio.sleep(5)
        with half_isolated(cluster.network, way, half.name, [node.name for node in rest]):
            await trio.sleep(60)
            changes = [
                (name, status)
                for node in (contact, *rest)
                for _, name, status in node.recorder.changes
                if name != half.name
            ]
            refuted = sum(node.gossiper.me.incarnation - 1 for node in (contact, *rest))
            assert "dead" not in {status for _, status in changes}
            assert refuted <= 4  # it accuses a few before it finds out who can vouch for them
            assert [node.gossiper.statistics().health for node in (contact, *rest)] == [0] * 11
        await trio.sleep(LAN.heal_interval * 1.25 + 30)
        await cluster.settle(nodes)


@simulated
async def test_the_others_find_out_who_can_vouch_for_a_half_isolated_member_and_stop_accusing_it(
    seed: int,
) -> None:
    async with open_cluster() as cluster:
        half, contact, *rest = nodes = await cluster.start_all(8, profile=LAN)
        with half_isolated(cluster.network, "cut off", half.name, [node.name for node in rest]):
            await trio.sleep(180)
            settled = trio.current_time()
            await trio.sleep(60)
            assert [each for node in nodes for each in node.recorder.changes if each[0] > settled] == []
            cluster.lose(half)  # and yet its death is noticed as soon as any
            await cluster.wait_status([contact, *rest], [half.name], Status.DEAD)
            assert trio.current_time() - settled - 60 < 20
