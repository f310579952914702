"""Counters on a simulated cluster: keys with state, calls that count, and whether any count was lost."""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from swimring.errors import CallError, NodeClosed
from swimring.service import Request, Service
from swimring.testing import current_seed, dice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from swimring.identity import Fence
    from swimring.testing import SimCluster


@dataclass
class Count:
    """The state of one counter."""

    value: int = 0


class Counters:
    """A service of counters, and what callers of ``add`` were told about each."""

    def __init__(
        self, *, replicas: int = 2, sync: bool = True, work: float = 0.0, idle: float = 300.0, budget: float = 1.0
    ) -> None:
        self.service = Service("counter")
        self.owned = self.service.own_keys(Count, replicas=replicas, sync=sync, idle=idle, budget=budget)
        self.acknowledged: Counter[str] = Counter()
        self.maybe: Counter[str] = Counter()
        self.refused: list[CallError] = []
        self.failures: Counter[str] = Counter()
        self.slowest = 0.0
        self.hung = 0
        self.patience = 60.0
        self._numbers = itertools.count()
        self.work = work

        @self.service.on("add")
        async def add(request: Request, by: int = 1) -> int:
            own = self.owned.of(request)
            own.state.value += by
            await trio.sleep(self.work)
            await own.checkpoint()
            return own.state.value

        @self.service.on("read", idempotent=True)
        async def read(request: Request) -> int:
            return self.owned.of(request).state.value

        self.add, self.read = add, read

    async def add_one(self, cluster: SimCluster, key: str) -> None:
        """Count once, from some node, and note what came of it."""
        asker = dice("asker", current_seed(), next(self._numbers), key).choice(cluster.awake)
        node, began = asker.node, trio.current_time()
        with trio.move_on_after(self.patience) as patience:
            try:
                await node.call(self.add, key)
            except NodeClosed:
                return  # whoever asked has left: nothing was sent
            except CallError as error:
                self.failures[type(error).__name__] += 1
                if not asker.running or asker.node is not node or error.maybe_executed:
                    self.maybe[key] += 1
                else:
                    self.refused.append(error)
                return
            self.acknowledged[key] += 1
            self.slowest = max(self.slowest, trio.current_time() - began)
        if patience.cancelled_caught:
            self.maybe[key] += 1
            self.hung += 1

    @asynccontextmanager
    async def load(self, cluster: SimCluster, *, keys: int = 40, rate: float = 100) -> AsyncIterator[None]:
        """Count at random moments while the block runs; all calls have ended when it has."""
        async with trio.open_nursery() as calls, trio.open_nursery() as making:
            making.start_soon(self._make_calls, cluster, calls, keys, rate)
            yield
            making.cancel_scope.cancel()

    async def _make_calls(self, cluster: SimCluster, calls: trio.Nursery, keys: int, rate: float) -> None:
        rng = dice("counters", current_seed(), keys)
        while True:
            await trio.sleep(rng.expovariate(rate))
            if cluster.awake:
                calls.start_soon(self.add_one, cluster, f"c{rng.randrange(keys)}")

    async def wrong(self, cluster: SimCluster, *, exact: bool = False) -> list[str]:
        """What counters say that does not fit what callers were told; with ``exact``, nothing may be in doubt."""
        node, wrong = cluster.awake[0].node, []
        for key in sorted({*self.acknowledged, *self.maybe}):
            with trio.fail_after(60):
                value = await node.call(self.read, key)
            least, most = self.acknowledged[key], self.acknowledged[key] + self.maybe[key]
            if not least <= value <= (least if exact else most):
                wrong.append(f"{key}: {value}, acknowledged {least}, in doubt {self.maybe[key]}")
        return wrong


def open_at_once(cluster: SimCluster) -> dict[tuple[str, bytes], list[tuple[str, Fence]]]:
    """For each key that is open, by whom and under which fence, by the word of all nodes that are awake."""
    found: dict[tuple[str, bytes], list[tuple[str, Fence]]] = {}
    for one in cluster.awake:
        for open_key in one.node.ownership.open_keys():
            found.setdefault((open_key.service, open_key.key), []).append((one.name, open_key.fence))
    return found


def one_owner_at_a_time(cluster: SimCluster) -> Iterator[str]:
    """An invariant for clusters without partitions and pauses."""
    for key, owners in open_at_once(cluster).items():
        if len(owners) > 1:
            yield f"{key} is open at {owners}"


async def grown(cluster: SimCluster) -> None:
    """Wait until everybody sees everybody, and those that came have taken all their keys, in steps of a second."""
    await cluster.settled()
    await trio.sleep(8)
    await cluster.settled()
