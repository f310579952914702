"""A store outside of the cluster that checks fences: what an owner that stood still writes too late changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import trio

from swimring.errors import CallError, NodeClosed
from swimring.service import Request, Service
from swimring.testing import SimCluster, SimNode, current_seed, dice, open_sim_cluster, run_simulation

pytestmark = pytest.mark.costly

KEYS = [f"k{number}" for number in range(12)]


class Replaced(Exception):
    """The row has the stamp of a later owner."""


@dataclass
class Row:
    fence: int = 0
    value: int = 0


class Store:
    """Rows that refuse whoever has been replaced; with ``checks=False``, the planted bug, they do not."""

    def __init__(self, *, checks: bool = True) -> None:
        self.rows = {key: Row() for key in KEYS}
        self.refused: list[str] = []
        self.too_late: list[str] = []
        self._checks = checks

    def stamp(self, key: str, fence: int) -> int:
        row = self.rows[key]
        self._check(key, fence)
        row.fence = max(fence, row.fence)
        return row.value

    def write(self, key: str, fence: int, value: int) -> None:
        self._check(key, fence)
        row = self.rows[key]
        if fence < row.fence:
            self.too_late.append(f"{key}: written under {fence}, stamped by {row.fence}")
        row.value = value

    def _check(self, key: str, fence: int) -> None:
        if fence < self.rows[key].fence:
            self.refused.append(key)
            if self._checks:
                raise Replaced(key)


@dataclass
class Cached:
    value: int = 0
    stamped: int = 0


class Bank:
    """A service that writes through to the store, and takes its time before it does."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.service = Service("bank")
        self.accounts = self.service.own_keys(Cached)

        @self.service.on("add")
        async def add(request: Request) -> int:
            own = self.accounts.of(request)
            key, fence, cached = str(request.key), own.fence.number, own.state
            if cached.stamped != fence:
                cached.value, cached.stamped = self.store.stamp(key, fence), fence
            await trio.sleep(0.1)
            self.store.write(key, fence, cached.value + 1)
            cached.value += 1
            return cached.value

        self.add = add

    async def call(self, asker: SimNode, key: str) -> None:
        with trio.move_on_after(30):
            try:
                await asker.node.call(self.add, key)
            except (CallError, Replaced, NodeClosed):
                return


async def one_stands_still(bank: Bank) -> None:
    """Owners are busy when one of them stops for 15 s; the others take over, then it goes on."""
    async with open_sim_cluster() as cluster:
        nodes = await cluster.start(3, bank.service)
        asker, _ = await cluster.start(2, bank.service, weight=0)
        await cluster.settled()
        async with trio.open_nursery() as nursery:
            victim = dice("victim", current_seed()).choice(nodes)
            nursery.start_soon(_ask_all, cluster, nursery, bank, asker)
            await trio.sleep(2 + dice("when", current_seed()).uniform(0.0, 0.2))
            victim.pause()
            await trio.sleep(15)
            victim.resume()
            await trio.sleep(3)
            nursery.cancel_scope.cancel()


async def _ask_all(cluster: SimCluster, nursery: trio.Nursery, bank: Bank, asker: SimNode) -> None:
    while True:
        for key in KEYS:
            nursery.start_soon(bank.call, asker, key)
        await trio.sleep(1)


def test_a_store_that_checks_fences_takes_nothing_from_an_owner_that_was_replaced(seed: int) -> None:
    store = Store()
    run_simulation(one_stands_still, Bank(store), seed=seed)
    assert store.too_late == []
    assert all(row.value > 10 for row in store.rows.values())


def test_a_store_that_forgets_to_check_is_found_within_200_seeds() -> None:
    for seed in range(200):
        store = Store(checks=False)
        run_simulation(one_stands_still, Bank(store), seed=seed)
        if store.too_late:
            return
    raise AssertionError("200 seeds did not find it")
