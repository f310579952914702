"""The chaos kit as mypy --strict and pyright strict see it: one test that runs on either back-end.

Checked, not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from swimring import Request, Service

if TYPE_CHECKING:
    from swimring import Node
    from swimring.testing import Cluster, RealCluster, SimCluster

chat = Service("chat")


@chat.on("say")
async def say(request: Request, number: int) -> int:
    return number


async def write(node: Node, number: int) -> int:
    return await node.call(say, "lobby", number)


async def check_no_acknowledged_write_is_lost(cluster: SimCluster) -> None:
    nodes = await cluster.start(5, chat)
    async with cluster.load(write, rate=200) as load:
        async with cluster.partition(nodes[:2], nodes[2:]):
            await trio.sleep(30)
        nodes[3].crash()
        await trio.sleep(10)
        await nodes[3].restart()
        await nodes[0].drain()
    await cluster.settled()
    assert load.lost == 0
    assert load.failed_unexplained == 0


async def check_it_on_either_back_end(cluster: Cluster) -> None:
    async def keep(node: Node) -> None:
        async with node.events() as events:
            async for _ in events:
                pass

    nodes = await cluster.start(5, chat, beside=keep)
    async with cluster.load(write, rate=200) as load:
        with cluster.partition(nodes[0], nodes[2:]):
            await trio.sleep(30)
        nodes[1].pause()
        nodes[1].resume()
        cluster.owner_of("lobby").crash()
    await cluster.settled()
    values: list[int | None] = [record.value for record in load.records]
    assert values


def a_simulated_cluster_is_a_cluster(cluster: SimCluster) -> Cluster:
    return cluster


def a_cluster_of_processes_is_a_cluster(cluster: RealCluster) -> Cluster:
    return cluster
