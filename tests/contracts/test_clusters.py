"""What every cluster of the chaos kit promises: nodes of a simulation, and nodes in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

import pytest
import trio

from swimring import Node, Request, Service
from swimring.errors import ConfigError
from swimring.testing import Cluster, Outcome, RealNode, open_real_cluster, open_sim_cluster, run_simulation

if TYPE_CHECKING:
    from swimring.service import NodeView

app = Service("app")
_began: WeakKeyDictionary[NodeView, int] = WeakKeyDictionary()


@app.on("where", idempotent=True)
async def where(request: Request) -> str:
    return request.node.name


@app.on("begun", idempotent=True)
async def begun(request: Request) -> int:
    """How often what runs beside this node has begun."""
    return _began.get(request.node, 0)


@app.on("keep")
async def keep(request: Request, text: str) -> None:
    await request.node.store.append("log", text.encode())
    await request.node.store.sync("log")


@app.on("kept", idempotent=True)
async def kept(request: Request) -> str:
    return (await request.node.store.read("log") or b"").decode()


async def count(node: Node) -> None:
    _began[node] = _began.get(node, 0) + 1
    await trio.sleep_forever()


Rule: TypeAlias = Callable[[Cluster], Awaitable[None]]
Runner: TypeAlias = Callable[[Rule], None]


def on_simulated_nodes(rule: Rule) -> None:
    async def main() -> None:
        async with open_sim_cluster() as cluster:
            await rule(cluster)

    run_simulation(main, seed=3)


def on_processes(rule: Rule) -> None:
    async def main() -> None:
        with trio.fail_after(180):
            async with open_real_cluster() as cluster:
                await rule(cluster)

    trio.run(main)


def contract(rule: Rule) -> Callable[[Runner], None]:
    """Turn a rule into a test that runs on every back-end."""

    def test(run: Runner) -> None:
        run(rule)

    test.__name__ = test.__qualname__ = getattr(rule, "__name__", "rule")
    runners = [
        pytest.param(on_simulated_nodes, id="simulated"),
        pytest.param(on_processes, id="processes", marks=pytest.mark.slow),
    ]
    return pytest.mark.parametrize("run", runners)(test)


@contract
async def test_nodes_agree_on_owners_and_owners_answer(cluster: Cluster) -> None:
    nodes = await cluster.start(3, app, beside=count, profile="local")
    assert [node.name for node in nodes] == ["n1", "n2", "n3"]
    await cluster.settled()
    for number in range(20):
        key = f"key {number}"
        owner = cluster.owner_of(key)
        assert cluster.owners_of(key, app) == dict.fromkeys(["n1", "n2", "n3"], owner.name)
        assert await nodes[number % 3].node.call(where, key) == owner.name
    assert await nodes[0].node.peer("n2").call(begun) == 1  # what runs beside a node runs beside each


@contract
async def test_nodes_are_killed_stopped_drained_and_started_again(cluster: Cluster) -> None:
    one, two, three = await cluster.start(3, app, profile="local")
    await cluster.settled()
    two.crash()
    await cluster.settled()
    assert set(cluster.owners_of("key")) == {"n1", "n3"}
    await one.node.call(where, "key")
    with pytest.raises(ConfigError, match="not running"):
        two.crash()
    await two.restart()
    await cluster.settled()
    assert set(cluster.owners_of("key")) == {"n1", "n2", "n3"}
    three.pause()
    three.pause()  # once is enough
    assert (three.paused, three.running, three in cluster.awake) == (True, True, False)
    await cluster.settled()
    assert set(cluster.owners_of("key")) == {"n1", "n2"}
    three.resume()
    await cluster.settled()
    await three.drain()
    assert not three.running
    await cluster.settled()
    with pytest.raises(ConfigError, match="is running"):
        await one.restart()


@contract
async def test_a_restart_finds_what_was_kept_or_nothing_if_it_is_without_data(cluster: Cluster) -> None:
    one, two = await cluster.start(2, app, profile="local")
    await cluster.settled()
    ask = one.node.peer("n2")
    await ask.call(keep, None, "one ")
    two.crash()
    await cluster.settled()
    await two.restart()
    await cluster.settled()
    await ask.call(keep, None, "two")
    assert await ask.call(kept, None) == "one two"
    await two.drain()
    await two.restart(data=False)
    await cluster.settled()
    assert await ask.call(kept, None) == ""


@contract
async def test_a_load_counts_what_became_of_its_calls(cluster: Cluster) -> None:
    await cluster.start(2, app, profile="local")
    await cluster.settled()

    async def ask(node: Node, number: int) -> str:
        return await node.call(where, f"key {number}")

    async def is_even(_node: Node, number: int, _answer: str) -> bool:
        return number % 2 == 0

    async with cluster.load(ask, rate=20, check=is_even) as load:
        await trio.sleep(1)
    assert load.acknowledged == load.outcomes[Outcome.ACKNOWLEDGED] == len(load.records) > 0
    assert load.lost == sum(record.number % 2 for record in load.records)
    assert {record.value for record in load.records} <= {"n1", "n2"}


def test_no_process_outlives_its_cluster_not_even_one_that_stands_still() -> None:
    pids: list[int] = []

    async def rule(cluster: Cluster) -> None:
        for node in await cluster.start(2, app, profile="local"):
            assert isinstance(node, RealNode)
            pids.append(node.pid)
        cluster.nodes[1].pause()
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        on_processes(rule)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
