"""A machine that vanishes without a word: nobody's calls wait for it longer than membership does."""

from __future__ import annotations

import pytest
import trio

from swimring import ConnectionLost, Request, Service
from swimring.swim import Profile
from swimring.testing import SimNode, run_simulation

from .settled import settled_cluster

app = Service("slow")


@app.on("wait")
async def wait(request: Request) -> None:
    await trio.sleep_forever()


def test_a_call_in_flight_is_lost_when_its_owner_is_declared_dead(seed: int) -> None:
    async def scenario() -> float:
        async with settled_cluster(5, app, profile="lan") as (cluster, nodes):
            owner = cluster.owner_of("k")
            caller = next(node for node in nodes if node is not owner)
            async with trio.open_nursery() as nursery:
                frozen: float = await nursery.start(_lose, owner)
                with pytest.raises(ConnectionLost) as lost:
                    await caller.node.call(wait, "k")
            assert (lost.value.key, lost.value.owner, lost.value.maybe_executed) == ("k", owner.name, True)
            return trio.current_time() - frozen

    lan = Profile.lan()
    # At worst two rounds until it is probed by somebody, the round itself, and the suspicion at its shortest.
    declared_dead = (3 + lan.suspicion_alpha) * lan.probe_interval
    assert run_simulation(scenario, seed=seed) < declared_dead + 1


async def _lose(owner: SimNode, task_status: trio.TaskStatus[float]) -> None:
    task_status.started(trio.current_time() + 1)
    await trio.sleep(1)
    owner.freeze()
