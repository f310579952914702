"""Wall clocks and boot clocks of single machines, wrong in different ways."""

from __future__ import annotations

import pytest
import trio

from swimring.service import Request, Service
from swimring.testing import open_sim_cluster, run_simulation

app = Service("app")


@app.on("clocks", idempotent=True)
async def clocks(request: Request) -> tuple[int, float]:
    return request.node.host.wall_ms(), request.node.host.boot_time()


def test_a_wall_clock_jumps_and_jumps_back_and_only_on_the_nodes_that_are_named() -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            one, two = await cluster.start(2, app)
            began = one.node.host.wall_ms()
            with cluster.clock_skew(-3600, one):
                assert one.node.host.wall_ms() - began == pytest.approx(-3_600_000, abs=1)
                with cluster.clock_skew(1, [one, two]):
                    assert two.node.host.wall_ms() - one.node.host.wall_ms() == pytest.approx(3_600_000, abs=1)
            assert one.node.host.wall_ms() == two.node.host.wall_ms()
            assert cluster.history.faults[0].text == "wall clock -3600 s at n1"

    run_simulation(scenario, seed=1)


def test_a_boot_clock_drifts_and_never_jumps() -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            one, two = await cluster.start(2, app)
            began = one.node.host.boot_time()
            with cluster.clock_drift(0.01, one):
                assert one.node.host.boot_time() == began
                await trio.sleep(100)
                assert one.node.host.boot_time() - began == pytest.approx(101)
            await trio.sleep(100)
            assert one.node.host.boot_time() - began == pytest.approx(201)
            assert two.node.host.boot_time() - began == pytest.approx(200)

    run_simulation(scenario, seed=1)


def test_handlers_see_the_clocks_of_the_machine_they_run_on_over_its_restarts() -> None:
    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            (one,) = await cluster.start(1, app)
            (ahead,) = await cluster.start(1, app, skew=60, drift=0.5)
            for _ in range(2):
                true, _ = await one.node.peer("n1").call(clocks)
                shown, boot = await one.node.peer("n2").call(clocks)
                assert shown - true == pytest.approx(60_000, abs=100)
                assert boot == pytest.approx(trio.current_time() * 1.5, abs=0.1)
                ahead.crash()
                await ahead.restart()

    run_simulation(scenario, seed=1)
