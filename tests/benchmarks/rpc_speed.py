"""How fast calls and streams are between two nodes on loopback; the tables of docs/concepts/performance.md.

Run it from the root of the repository: ``python -m tests.benchmarks.rpc_speed``; it takes a minute. The whole stack is
measured: two processes, `open_node` in each, `Node.request` with a key that the other node owns. Beside it runs the
echo of 64 bytes over a bare `trio.SocketStream`, since times of one machine mean little on another. CPU is what both
processes together spend on one call: it hardly moves when other work keeps the machine busy.

``... rpc_speed profile [asking|serving]`` shows where the time of calls, 100 at a time, goes in one of the two.
"""

# ruff: noqa: T201, TID251 - a program that prints, and measures time
from __future__ import annotations

import cProfile
import gc
import math
import pstats
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING

import trio

from swimring import Node, Request, Service, open_node
from tests.benchmarks.other_side import other_side

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

RUNS = 5
SECONDS = 1.0
MIB = 1 << 20
CHUNK = 64 * 1024

bench = Service("bench")


@bench.on("cmd:echo")
async def echo(request: Request, n: int, name: str, excited: bool) -> int:
    return n


@bench.on("cmd:upload")
async def upload(request: Request) -> int:
    return sum([len(chunk) async for chunk in request.streams["file"]])


@bench.on("cmd:cpu")
async def cpu(request: Request) -> float:
    return time.process_time()


@bench.on("cmd:profile")
async def profile(request: Request, running: bool) -> None:
    profiled(running=running)


_profile = cProfile.Profile()


def profiled(*, running: bool) -> None:
    if running:
        _profile.enable()
    else:
        _profile.disable()
        pstats.Stats(_profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One figure, and what it cost both processes together."""

    value: float
    micros: float = math.nan


# ------------------------------------------------------------------------------------------------- the other process


async def serve_forever() -> None:
    gc.freeze()
    echoes = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with (
        open_node(bench, cluster="bench", name="server", listen="127.0.0.1:0", join=["127.0.0.1:1"]) as node,
        trio.open_nursery() as nursery,
    ):
        print(node.me.address, echoes[0].socket.getsockname()[1], flush=True)
        nursery.start_soon(partial(trio.serve_listeners, bare_serve, echoes))


async def bare_serve(stream: trio.SocketStream) -> None:
    """Echo; of what begins with a 1, count a bulk transfer instead."""
    first = await stream.receive_some(CHUNK)
    if first[:1] == b"\1":
        while await stream.receive_some(CHUNK):
            pass
        return
    await stream.send_all(first)
    async for chunk in stream:
        await stream.send_all(chunk)


# -------------------------------------------------------------------------------------------------------- measuring


async def bare_echo(port: int) -> Found:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    count, until = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        await stream.send_all(bytes(64))
        await stream.receive_some()
        count += 1
    await stream.aclose()
    return Found(value=count / SECONDS)


async def bare_bulk(port: int, total: int) -> Found:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    started, blob = time.perf_counter(), bytes([1]) * CHUNK
    for _ in range(total // CHUNK):
        await stream.send_all(blob)
    await stream.send_eof()
    await stream.receive_some()
    taken = time.perf_counter() - started
    await stream.aclose()
    return Found(value=total / MIB / taken)


async def spent(node: Node) -> float:
    return time.process_time() + float(await node.request({"ns": "bench", "cmd": "cpu", "key": "k"}))


async def calls(node: Node, concurrency: int) -> Found:
    count, before = 0, await spent(node)
    until = time.perf_counter() + SECONDS
    message = {"ns": "bench", "cmd": "echo", "key": "k", "n": 1, "name": "world", "excited": False}

    async def ask() -> None:
        nonlocal count
        while time.perf_counter() < until:
            await node.request(message)
            count += 1

    async with trio.open_nursery() as nursery:
        for _ in range(concurrency):
            nursery.start_soon(ask)
    return Found(value=count / SECONDS, micros=(await spent(node) - before) / count * 1e6)


async def bulk(node: Node, chunk: int, total: int) -> Found:
    started, before = time.perf_counter(), await spent(node)
    blob = bytes(chunk)
    async with node.open(upload.with_streams(file=None), "k") as call:
        for _ in range(total // chunk):
            await call.streams["file"].send(blob)
        await call.streams["file"].send_eof()
        assert await call.result() == total // chunk * chunk
    taken = time.perf_counter() - started
    return Found(value=total / MIB / taken, micros=(await spent(node) - before) / total * MIB * 1e6)


async def latencies(node: Node, *, beside: bool) -> Found:
    """The p99 in milliseconds of small calls, ten at a time, alone or beside a stream that fills the connection."""
    taken: list[float] = []
    until = time.perf_counter() + SECONDS
    message = {"ns": "bench", "cmd": "echo", "key": "k", "n": 1, "name": "world", "excited": False}

    async def ask() -> None:
        while (began := time.perf_counter()) < until:
            await node.request(message)
            taken.append(time.perf_counter() - began)

    async def flood() -> None:
        async with node.open(upload.with_streams(file=None), "k") as call:
            while time.perf_counter() < until:
                await call.streams["file"].send(bytes(CHUNK))
            await call.streams["file"].send_eof()
            await call.result()

    async with trio.open_nursery() as nursery:
        if beside:
            nursery.start_soon(flood)
        for _ in range(10):
            nursery.start_soon(ask)
    return Found(value=quantiles(taken, n=100)[98] * 1e3)


async def show(node: Node, port: int) -> None:
    rows: dict[str, Callable[[], Awaitable[Found]]] = {
        "bare echo, 1 at a time, /s": partial(bare_echo, port),
        "calls, 1 at a time, /s": partial(calls, node, 1),
        "calls, 100 at a time, /s": partial(calls, node, 100),
        "calls, 1,000 at a time, /s": partial(calls, node, 1000),
        "bare bulk, 64 KiB chunks, MiB/s": partial(bare_bulk, port, 512 * MIB),
        "upload, 64 KiB chunks, MiB/s": partial(bulk, node, CHUNK, 512 * MIB),
        "upload, 1 KiB chunks, MiB/s": partial(bulk, node, 1024, 16 * MIB),
        "p99 of calls, 10 at a time, ms": partial(latencies, node, beside=False),
        "the same beside a full stream, ms": partial(latencies, node, beside=True),
    }
    # In rounds, so that a busy machine slows all rows alike.
    rounds = [{name: await row() for name, row in rows.items()} for _ in range(RUNS)]
    print(f"| median of {RUNS} | | CPU us per call or MiB |\n|---|---:|---:|")
    for name in rows:
        value, micros = (median(getattr(found[name], part) for found in rounds) for part in ("value", "micros"))
        print(f"| {name} | {value:,.{0 if value >= 100 else 2}f} | {'' if math.isnan(micros) else f'{micros:.0f}'} |")


async def show_profile(node: Node, side: str) -> None:
    await calls(node, 100)
    if side == "serving":
        await node.request({"ns": "bench", "cmd": "profile", "key": "k", "running": True})
        await calls(node, 100)
        await node.request({"ns": "bench", "cmd": "profile", "key": "k", "running": False})
    else:
        profiled(running=True)
        found = await calls(node, 100)
        profiled(running=False)
        print(f"{found.value:,.0f} calls/s while profiled")


@asynccontextmanager
async def asking_node(address: str) -> AsyncIterator[Node]:
    # Without a service and without weight, so that the server owns every key.
    async with open_node(cluster="bench", name="client", listen="127.0.0.1:0", join=[address], weight=0) as node:
        await node.wait_ring("bench", nodes=1)
        yield node


async def measure(address: str, port: int) -> None:
    async with asking_node(address) as node:
        gc.freeze()
        if sys.argv[1:2] == ["profile"]:
            await show_profile(node, sys.argv[2] if sys.argv[2:] else "asking")
        else:
            await show(node, port)


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        trio.run(serve_forever)
        return
    with other_side("rpc_speed") as said:
        address, port = said.split()
        trio.run(measure, address, int(port))


if __name__ == "__main__":
    main()
