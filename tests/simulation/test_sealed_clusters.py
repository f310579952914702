"""Whole nodes with a secret, under load, while their keys change and machines come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from swimring.security import NEW_KEY, Keyring, Sealer, key_id
from swimring.testing import SimCluster, SimNode, open_sim_cluster, run_simulation

from .leftovers import check_nothing_left
from .load import Ledger, under_load
from .settled import settled_cluster

if TYPE_CHECKING:
    from collections.abc import Sequence

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
COUNT = 5


async def change_keys(nodes: Sequence[SimNode], cmd: str, **fields: object) -> None:
    """Do on each node what an operator does on all of them, a second apart."""
    for node in nodes:
        await node.node.request({"ns": "swimring", "cmd": cmd, **fields})
        await trio.sleep(1)


async def add_key(cluster: SimCluster, nodes: Sequence[SimNode]) -> None:
    minute = cluster.network.host("operator").wall_ms() // 60_000
    sealer = Sealer(Keyring([OLD]), cluster=cluster.name, salt=bytes(16))
    await change_keys(nodes, "add key", sealed=sealer.seal(NEW, minute=minute, purpose=NEW_KEY))


def nobody_is_dead(cluster: SimCluster) -> bool:
    return all(member.status.word != "dead" for node in cluster.running for member in node.node.members)


def test_keys_change_under_load_while_one_member_is_away_and_it_comes_back_with_the_old_key(seed: int) -> None:
    async def scenario() -> None:
        ledger = Ledger()
        async with open_sim_cluster(secret=OLD) as cluster:
            *others, away = nodes = await cluster.start(COUNT, ledger.service, profile="local")
            await cluster.settled()
            async with under_load(cluster, ledger, askers=others, callers=4) as load:
                away.crash()
                await cluster.settled()
                await add_key(cluster, others)
                await change_keys(others, "use key", identity=key_id(NEW).hex())
                await away.restart()  # its secret file is that of yesterday
                await cluster.settled()
                await trio.sleep(30)
                assert nobody_is_dead(cluster)
                await add_key(cluster, [away])
                await change_keys([away], "use key", identity=key_id(NEW).hex())
                await change_keys(nodes, "remove key", identity=key_id(OLD).hex())
                await trio.sleep(30)
                assert nobody_is_dead(cluster)
            load.check()
            await check_nothing_left(cluster, ledger.service.name)

    run_simulation(scenario, seed=seed)


def test_a_machine_lost_in_the_middle_of_a_rotation_costs_nobody_else_its_place(seed: int) -> None:
    async def scenario() -> None:
        ledger = Ledger()
        async with settled_cluster(COUNT, ledger.service, profile="local", secret=OLD) as (cluster, nodes):
            async with under_load(cluster, ledger, askers=nodes[1:], callers=4) as load:
                await add_key(cluster, nodes)
                await change_keys(nodes[:2], "use key", identity=key_id(NEW).hex())
                nodes[0].freeze()
                await change_keys(nodes[2:], "use key", identity=key_id(NEW).hex())
                await cluster.settled()
                cluster.secret = (NEW, OLD)
                await nodes[0].restart()
                await change_keys(nodes, "remove key", identity=key_id(OLD).hex())
                await cluster.settled()
                await trio.sleep(30)
                assert nobody_is_dead(cluster)
            load.check()
            await check_nothing_left(cluster, ledger.service.name)

    run_simulation(scenario, seed=seed)


def test_a_plain_cluster_becomes_a_sealed_one_by_rolling_restarts_under_load(seed: int) -> None:
    async def scenario() -> None:
        ledger = Ledger()
        async with settled_cluster(4, ledger.service, profile="local") as (cluster, nodes):
            async with under_load(cluster, ledger, callers=4) as load:
                for cluster.secret, cluster.seal in ((OLD, "accept"), (OLD, "prefer"), (OLD, "require")):
                    for node in nodes:
                        await node.drain()
                        await node.restart()
                        await cluster.settled()
                        assert nobody_is_dead(cluster)
            load.check(no_failures=True)
            await check_nothing_left(cluster, ledger.service.name)

    run_simulation(scenario, seed=seed)
