"""Simulated clusters that have come to rest before a test begins."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from swimring.testing import open_sim_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.service import Service
    from swimring.testing import SimCluster, SimNode


@asynccontextmanager
async def settled_cluster(
    count: int, service: Service, *, profile: str = "lan", **options: Any
) -> AsyncIterator[tuple[SimCluster, list[SimNode]]]:
    """A cluster of ``count`` nodes that agree, and its nodes; ``options`` as for `open_sim_cluster`."""
    async with open_sim_cluster(**options) as cluster:
        nodes = await cluster.start(count, service, profile=profile)
        await cluster.settled()
        yield cluster, nodes
