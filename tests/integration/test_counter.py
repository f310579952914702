"""The counter of the examples in real processes: stopped, started again and killed, it loses nothing it has told."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from examples.counter import add, read
from swimring import Node, open_node

from .processes import Running, running

COUNTER = Path(__file__).parents[2] / "examples" / "counter.py"
KEYS = [f"c{number}" for number in range(30)]


async def start(stack: AsyncExitStack, cluster: str, name: str, join: str) -> Running:
    options = ("--cluster", cluster, "--name", name, "--join", join)
    node = await stack.enter_async_context(running(f"{COUNTER}:app", *options))
    await node.wait_address()
    return node


def test_the_counter_fits_in_twenty_lines() -> None:
    assert len(COUNTER.read_text().splitlines()) <= 20


async def test_two_restarts_and_a_kill_lose_no_count(tmp_path: Path) -> None:
    cluster, count = f"counter-{abs(hash(str(tmp_path))) % 10**8}", 0
    with trio.fail_after(100):
        async with AsyncExitStack() as stack:
            asker = await stack.enter_async_context(
                open_node(cluster=cluster, name="asker", listen="127.0.0.1:0", join=["127.0.0.1:1"])
            )
            seed = str(asker.me.address)
            nodes = {name: await start(stack, cluster, name, seed) for name in "abc"}
            await asker.wait_ring("counter", nodes=3)
            for name in "ab":
                count = await count_all(asker, count)
                nodes[name].signal(signal.SIGTERM)
                count = await count_all(asker, count)
                assert await nodes[name].wait_ended() == 0
                nodes[name] = await start(stack, cluster, name, seed)
            await asker.wait_ring("counter", nodes=3)
            count = await count_all(asker, count)  # so each is on three nodes
            nodes["b"].signal(signal.SIGKILL)
            assert [await asker.call(read, key) for key in KEYS] == [count] * len(KEYS)


async def count_all(asker: Node, count: int) -> int:
    """Each counter one further; how far they are."""
    assert [await asker.call(add, key) for key in KEYS] == [count + 1] * len(KEYS)
    return count + 1
