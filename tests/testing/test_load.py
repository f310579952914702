"""Load on simulated clusters, and rules that hold at every event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import ConfigError
from swimring.service import Request, Service
from swimring.testing import (
    InvariantBroken,
    Outcome,
    SimCluster,
    each_node_trusts_itself,
    incarnations_come_from_their_owner,
    open_sim_cluster,
    run_simulation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swimring.node import Node
    from swimring.testing import Load


class Register:
    """A service that keeps what it was told on the node that was told; nobody hands anything over."""

    def __init__(self) -> None:
        self.service = service = Service("register")
        self.kept: dict[str, set[int]] = {}

        @service.on("put")
        async def put(request: Request, number: int) -> int:
            if number % 10 == 3:
                raise RuntimeError("a bug")
            self.kept.setdefault(request.node.name, set()).add(number)
            return number

        @service.on("has", idempotent=True)
        async def has(request: Request, number: int) -> bool:
            return number in self.kept.get(request.node.name, ())

        self.put, self.has = put, has

    async def write(self, node: Node, number: int) -> int:
        return await node.call(self.put, f"key {number}", number)

    async def read(self, node: Node, number: int, _acknowledged: int) -> bool:
        return await node.call(self.has, f"key {number}", number)


async def _under_load(seconds: float, *, crash: bool) -> Load[int]:
    register = Register()
    async with open_sim_cluster() as cluster:
        nodes = await cluster.start(3, register.service)
        await cluster.settled()
        cluster.check(each_node_trusts_itself, incarnations_come_from_their_owner)
        async with cluster.load(register.write, rate=20, check=register.read) as load:
            await trio.sleep(seconds)
            if crash:
                nodes[1].crash()
                await trio.sleep(seconds)
        return load


def test_a_load_counts_what_became_of_its_calls(seed: int) -> None:
    load = run_simulation(_quiet, seed=seed)
    assert 400 < len(load.records) < 800
    assert load.acknowledged + load.failed == len(load.records)
    assert load.outcomes[Outcome.FAILED] == sum(record.number % 10 == 3 for record in load.records)
    assert load.failed_unexplained == 0
    assert load.lost == 0
    assert 0 < load.latency(0.5) <= load.latency(0.99) <= load.latency(1) < 0.1
    assert "acknowledged" in repr(load)


async def _quiet() -> Load[int]:
    return await _under_load(30.0, crash=False)


async def _broken() -> Load[int]:
    return await _under_load(15.0, crash=True)


def test_what_was_acknowledged_and_is_gone_is_counted_as_lost(seed: int) -> None:
    load = run_simulation(_broken, seed=seed)
    assert load.lost > 0  # nobody handed over what the killed node knew
    assert load.failed_unexplained == 0


def test_calls_of_a_node_that_is_killed_are_void_and_errors_of_the_application_are_unexplained(seed: int) -> None:
    async def action(node: Node, number: int) -> None:
        if number % 2:
            raise ValueError(number)
        await trio.sleep(5)

    async def scenario() -> Load[None]:
        async with open_sim_cluster() as cluster:
            (one, _two) = await cluster.start(2)
            async with cluster.load(action, rate=10, patience=3) as load:
                await trio.sleep(10)
                one.crash()
            return load

    load = run_simulation(scenario, seed=seed)
    assert load.outcomes[Outcome.VOID] > 0
    assert load.outcomes[Outcome.UNEXPLAINED] > 0
    assert load.outcomes[Outcome.UNFINISHED] > 0
    assert load.acknowledged == 0
    with pytest.raises(ConfigError):
        load.latency(0.5)


@pytest.mark.parametrize(("rate", "patience"), [(0, 1), (-1, 1), (1, 0)])
def test_a_load_without_rate_or_patience_is_refused(rate: float, patience: float) -> None:
    async def action(node: Node, number: int) -> None: ...

    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            with pytest.raises(ConfigError, match="above 0"):
                async with cluster.load(action, rate=rate, patience=patience):
                    pass

    run_simulation(scenario, seed=0)


def test_an_invariant_that_does_not_hold_fails_the_test_at_that_moment(seed: int) -> None:
    def nobody_dies(cluster: SimCluster) -> Iterator[str]:
        yield from (f"{node.name} is down" for node in cluster.nodes if not node.running)

    async def scenario() -> None:
        async with open_sim_cluster() as cluster:
            nodes = await cluster.start(3)
            cluster.check(nobody_dies)
            await trio.sleep(5)
            nodes[1].crash()
            await trio.sleep(100)
            raise AssertionError("it should not get here")

    with pytest.raises(ExceptionGroup) as caught:
        run_simulation(scenario, seed=seed)
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, InvariantBroken)
    assert error.at == pytest.approx(5, abs=1)
    assert "nobody_dies does not hold at" in str(error)
    assert error.wrong == ["n2 is down"]
