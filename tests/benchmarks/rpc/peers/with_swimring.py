"""swimring as a user has it: a node in each process, calls routed by key to the other one, each with its deadline."""

# ruff: noqa: TID251 - a program that measures time
from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are read
from time import perf_counter

import trio

from swimring import Node, Request, Service, open_node

from .figures import FIELDS, MIB, PATIENCE, Measures, greet, keep_asking, next_line, rate_of, read_command, say

KEY = "k"

bench = Service("bench")


async def other(request: Request) -> None:
    raise AssertionError


for _number in range(20):  # so that a handler has to be found among others
    bench.on(f"cmd:other{_number}")(other)


@bench.on("cmd:greet")
async def answer(request: Request, n: int, name: str, excited: bool) -> dict[str, object]:
    return greet(n, name, excited)


@bench.on("cmd:upload")
async def upload(request: Request) -> int:
    return sum([len(chunk) async for chunk in request.streams["file"]])


@bench.on("cmd:items")
async def items(request: Request, count: int) -> AsyncIterator[dict[str, object]]:
    for number in range(count):
        yield {**FIELDS, "n": number}


async def serve() -> None:
    gc.freeze()
    async with open_node(bench, cluster="bench", name="server", listen="127.0.0.1:0", join=["127.0.0.1:1"]) as node:
        say(address=str(node.me.address))
        await trio.to_thread.run_sync(next_line)


async def calls(node: Node, *, concurrency: int, seconds: float) -> dict[str, float]:
    message = {"ns": "bench", "cmd": "greet", "key": KEY, **FIELDS}

    async def call() -> None:
        with trio.fail_after(PATIENCE):
            await node.request(message)

    taken: list[float] = []
    began = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(concurrency):
            nursery.start_soon(keep_asking, call, began + seconds, taken)
    return rate_of(taken, perf_counter() - began)


async def bulk(node: Node, *, chunk: int, total: int) -> dict[str, float]:
    blob, count = bytes(chunk), total // chunk
    began = perf_counter()
    async with node.open(upload.with_streams(file=None), KEY) as call:
        for _ in range(count):
            await call.streams["file"].send(blob)
        await call.streams["file"].send_eof()
        assert await call.result() == count * chunk
    return {"rate": count * chunk / MIB / (perf_counter() - began)}


async def mixed(node: Node, *, seconds: float) -> dict[str, float]:
    """Small calls, ten at a time, alone and then beside a stream that fills the connection."""
    alone = await calls(node, concurrency=10, seconds=seconds)
    sent = 0

    async def flood() -> None:
        nonlocal sent
        blob = bytes(65536)
        async with node.open(upload.with_streams(file=None), KEY) as call:
            while True:
                await call.streams["file"].send(blob)
                sent += len(blob)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        began = perf_counter()
        beside = await calls(node, concurrency=10, seconds=seconds)
        rate = sent / MIB / (perf_counter() - began)
        nursery.cancel_scope.cancel()
    return {"alone": alone["p99"], "beside": beside["p99"], "bulk": rate}


async def objects(node: Node, *, count: int) -> dict[str, float]:
    began = perf_counter()
    async with node.open(items, KEY, count) as found:
        assert len([item async for item in found]) == count
    return {"rate": count / (perf_counter() - began)}


MEASURES: Measures = {"calls": calls, "bulk": bulk, "mixed": mixed, "objects": objects}


async def measure(address: str) -> None:
    # Without a service and without weight, so that the server owns every key.
    async with open_node(cluster="bench", name="client", listen="127.0.0.1:0", join=[address], weight=0) as node:
        await node.wait_ring("bench", nodes=1)
        gc.freeze()
        say(can=sorted(MEASURES))
        while line := await trio.to_thread.run_sync(next_line):
            what, how = read_command(line)
            say(**await MEASURES[what](node, **how))


if __name__ == "__main__":
    trio.run(serve) if sys.argv[1] == "serve" else trio.run(measure, sys.argv[2])
