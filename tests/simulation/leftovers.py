"""What must not be left once a cluster is quiet: calls, streams, tasks, credit, disagreement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from swimring.testing.leftovers import doors, leftovers

if TYPE_CHECKING:
    from swimring.rpc.connection import Connection
    from swimring.testing import SimCluster, SimNode

KEYS = [f"key {number}" for number in range(40)]
QUIET = 2.0


async def check_nothing_left(cluster: SimCluster, service: str) -> None:
    """After `QUIET` seconds without load: one owner per key, and nothing under way on any node."""
    await cluster.settled()
    await trio.sleep(QUIET)
    await cluster.settled()
    for key in KEYS:
        cluster.owner_of(key, service)
    assert len({node.node._rebalancer.snapshot.version for node in cluster.running}) == 1
    left = [f"{node.name}: {what}" for node in cluster.running for what in leftovers(node)]
    assert not left, "\n".join(left)


def connections(node: SimNode) -> list[Connection]:
    """Its connections to others."""
    return list(doors(node)[0].connections)
