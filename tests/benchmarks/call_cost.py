"""What one call costs the processor on both sides, in a unit that a busy machine does not change.

Run it from the root of the repository: ``python -m tests.benchmarks.call_cost``; it takes a minute. Two processes, a
whole node in each, `Node.request` with a key that the other node owns, inside `trio.fail_after`. A virtual core changes
its speed by the second, so a turn of calls stands between two turns of `trio.fail_after` around a checkpoint. What
counts is the ratio; the figures are that ratio times 12 us, which is what the unit takes on a quiet machine. At the end
the same for one call at a time beside an echo over a bare `trio.SocketStream`, and for bytes in chunks of 64 KiB.
"""

# ruff: noqa: T201 - a program that prints, and measures time
from __future__ import annotations

import gc
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import trio

from .rpc_speed import CHUNK, MIB, asking_node, bare_bulk, bulk, serve_forever

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring import Node

UNIT = 12.0
TURNS = 15
PATIENCE = 30.0
CALLS = {1: 400, 100: 1500, 1000: 3000}
TRANSFER = 64 * MIB
MESSAGE = {"ns": "bench", "cmd": "echo", "key": "k", "n": 1, "name": "world", "excited": False}


class Spent:
    """Processor time of this process and of the other one, in microseconds."""

    def __init__(self, pid: int) -> None:
        self._other = Path(f"/proc/{pid}/schedstat")  # only Linux tells

    def both(self) -> tuple[float, float]:
        return time.process_time() * 1e6, int(self._other.read_text().split()[0]) / 1e3


async def repeat(call: Callable[[], Awaitable[object]], *, at_once: int, count: int) -> None:
    async def keep_asking() -> None:
        for _ in range(count // at_once):
            await call()

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(keep_asking)


async def cost(spent: Spent, work: Awaitable[object], count: float) -> tuple[float, float]:
    """What ``work`` spends on each of ``count``, here and there."""
    here, there = spent.both()
    await work
    after_here, after_there = spent.both()
    return (after_here - here) / count, (after_there - there) / count


async def measure(address: str, port: int, spent: Spent) -> None:
    async with asking_node(address) as node:
        gc.freeze()

        async def ask() -> None:
            with trio.fail_after(PATIENCE):
                await node.request(MESSAGE)

        async def unit() -> None:
            with trio.fail_after(PATIENCE):
                await trio.lowlevel.checkpoint()

        print("| at a time | caller | server |\n|---:|---:|---:|")
        for at_once, count in CALLS.items():
            found = []
            await repeat(ask, at_once=at_once, count=count)
            for _ in range(TURNS):
                before, _ = await cost(spent, repeat(unit, at_once=50, count=500), 500)
                caller, server = await cost(spent, repeat(ask, at_once=at_once, count=count), count)
                after, _ = await cost(spent, repeat(unit, at_once=50, count=500), 500)
                found.append((caller * 2 / (before + after), server * 2 / (before + after)))
            caller, server = (UNIT * median(side) for side in zip(*found, strict=True))
            print(f"| {at_once:,} | {caller:.1f} | {server:.1f} |")
        await beside_bare(node, ask, port, spent)


async def beside_bare(node: Node, ask: Callable[[], Awaitable[None]], port: int, spent: Spent) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", port)

    async def echo() -> None:
        await stream.send_all(bytes(64))
        await stream.receive_some()

    calls, transfers = [], []
    for _ in range(TURNS):
        ours, bare = (
            await cost(spent, repeat(ask, at_once=1, count=150), 150),
            await cost(spent, repeat(echo, at_once=1, count=300), 300),
        )
        calls.append(sum(ours) / sum(bare))
        ours = await cost(spent, bulk(node, CHUNK, TRANSFER), TRANSFER / MIB)
        bare = await cost(spent, bare_bulk(port, TRANSFER), TRANSFER / MIB)
        transfers.append((*ours, *bare))
    print(f"one at a time: {median(calls):.2f} times the processor time of a bare echo")
    sent, received, bare_sent, bare_received = (median(each) for each in zip(*transfers, strict=True))
    print(f"us per MiB: {sent:.0f} to send, {received:.0f} to receive; bare {bare_sent:.0f} and {bare_received:.0f}")


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        trio.run(serve_forever)
        return
    command = [sys.executable, "-m", "tests.benchmarks.call_cost", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address, port = server.stdout.readline().split()
            trio.run(measure, address, int(port), Spent(server.pid))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
