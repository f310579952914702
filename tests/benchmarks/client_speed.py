"""Small calls through the client on each event loop, and through a node: requests a second, and processor time of each.

One node in a process of its own answers; each caller is a process as well, and their turns alternate. On a busy machine
the processor time of the caller is the figure to compare.
"""

# ruff: noqa: T201, TID251 - a program prints, and this one measures
from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import anyio
import trio

from swimring.client import connect
from swimring.node import open_node
from swimring.service import Request, Service
from tests.benchmarks.other_side import other_side

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.client import Mesh
    from swimring.node import Node

ROUNDS, CALLS, SIZES = 3, 1_500, (1, 100)
CALLERS: dict[str, dict[str, Any]] = {
    "node, Trio": {"backend": "trio"},
    "client, Trio": {"backend": "trio"},
    "client, asyncio": {"backend": "asyncio", "backend_options": {"use_uvloop": False}},
    "client, asyncio with uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
}

app = Service("bench")


@app.on("echo", idempotent=True)
async def echo(request: Request, data: bytes) -> bytes:
    return data


async def answer() -> None:
    async with open_node(app, cluster="bench", name="a", listen="127.0.0.1:0", join=["127.0.0.1:1"]) as node:
        print(node.me.address, flush=True)
        await trio.sleep_forever()


@asynccontextmanager
async def entered(caller: str, address: str) -> AsyncIterator[Node | Mesh]:
    if caller.startswith("node"):
        async with open_node(cluster="bench", listen="127.0.0.1:0", join=[address]) as node:
            await node.wait_ring("bench", nodes=1)
            yield node
    else:
        async with connect(address) as mesh:
            yield mesh


async def ask(caller: str, address: str) -> None:
    figures = []
    async with entered(caller, address) as mesh:

        async def worker(count: int) -> None:
            for _ in range(count):
                await mesh.call(echo, "key", b"x" * 20)

        await worker(300)
        for at_once in SIZES:
            wall, cpu = time.perf_counter(), time.process_time()
            async with anyio.create_task_group() as tasks:
                for _ in range(at_once):
                    tasks.start_soon(worker, CALLS // at_once)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            figures.append((CALLS / wall, cpu / CALLS * 1e6))
    print(json.dumps(figures))


def main() -> None:
    callers = [name for name in CALLERS if "uvloop" not in name or importlib.util.find_spec("uvloop")]
    program = [sys.executable, "-m", "tests.benchmarks.client_speed"]
    found: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in callers}
    with other_side("client_speed", "answer") as address:
        for _ in range(ROUNDS):
            for name in callers:
                done = subprocess.run([*program, name, address], stdout=subprocess.PIPE, text=True, check=True)
                found[name].append(json.loads(done.stdout))
    print("| caller | " + " | ".join(f"at once: {size} | processor time of a call" for size in SIZES) + " |")
    print("|---|" + "---|---|" * len(SIZES))
    for name, rounds in found.items():
        cells = [
            f"{median(one[place][0] for one in rounds):,.0f}/s | {median(one[place][1] for one in rounds):.0f} µs"
            for place in range(len(SIZES))
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["answer"]:
            trio.run(answer)
        case [caller, address]:
            anyio.run(ask, caller, address, **CALLERS[caller])
        case _:
            main()
