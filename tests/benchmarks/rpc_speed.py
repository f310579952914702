"""How fast calls and streams are between two processes on loopback; the table of docs/concepts/calls.md.

Run it from the root of the repository: ``python -m tests.benchmarks.rpc_speed``. It takes half a minute. The echo of
64 bytes over a bare `trio.SocketStream` is measured beside it, since times of one machine mean little on another.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import gc
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import trio

from swimring.identity import Address, NodeId
from swimring.instrument import Instruments
from swimring.net import SocketNetwork, SystemHost
from swimring.rpc import Incoming, Outgoing, Peer, Pool, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUNS = 5
SECONDS = 1.0
MIB = 1 << 20


async def serve(incoming: Incoming) -> object:
    incoming.begin()
    if incoming.streams:
        size = 0
        async for chunk in incoming.streams["file"]:
            size += len(chunk)
        return size
    return incoming.message["n"]


@asynccontextmanager
async def pool_named(name: str) -> AsyncIterator[Pool]:
    async with open_pool(
        me=NodeId(name, 1),
        cluster="bench",
        network=SocketNetwork(),
        host=SystemHost(),
        serve=serve,
        instruments=Instruments(),
    ) as pool:
        yield pool


async def serve_forever() -> None:
    gc.freeze()
    binding = await SocketNetwork().bind(Address("127.0.0.1", 0))
    echo = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(binding.address.port, echo[0].socket.getsockname()[1], flush=True)
    async with pool_named("server") as pool, trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, echo_stream, echo))
        while True:
            stream, remote = await binding.listener.accept()
            nursery.start_soon(pool.serve_stream, stream, remote, b"")


async def echo_stream(stream: trio.SocketStream) -> None:
    async for chunk in stream:
        await stream.send_all(chunk)


async def bare_echo(port: int) -> float:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    count, until = 0, time.perf_counter() + SECONDS  # noqa: TID251 - measuring is what this program is for
    while time.perf_counter() < until:  # noqa: TID251 - as above
        await stream.send_all(bytes(64))
        await stream.receive_some()
        count += 1
    await stream.aclose()
    return count / SECONDS


async def calls(peer: Peer, concurrency: int) -> float:
    count, until = 0, time.perf_counter() + SECONDS  # noqa: TID251 - as above
    out = Outgoing(ns="bench", cmd="echo", key="k", fields={"n": 1, "name": "world", "excited": False})

    async def ask() -> None:
        nonlocal count
        while time.perf_counter() < until:  # noqa: TID251 - as above
            await peer.request(out)
            count += 1

    async with trio.open_nursery() as nursery:
        for _ in range(concurrency):
            nursery.start_soon(ask)
    return count / SECONDS


async def upload(peer: Peer, chunk: int, total: int) -> float:
    started = time.perf_counter()  # noqa: TID251 - as above
    blob = bytes(chunk)
    async with peer.open(Outgoing(ns="bench", cmd="upload", streams={"file": None})) as call:
        for _ in range(total // chunk):
            await call.streams["file"].send(blob)
        await call.streams["file"].send_eof()
        assert await call.result() == total // chunk * chunk
    return total / MIB / (time.perf_counter() - started)  # noqa: TID251 - as above


async def measure(port: int, echo_port: int) -> None:
    gc.freeze()
    async with pool_named("client") as pool:
        peer = await pool.peer("server", Address("127.0.0.1", port))
        rates = {
            "bare echo, 1 at a time, /s": partial(bare_echo, echo_port),
            "calls, 1 at a time, /s": partial(calls, peer, 1),
            "calls, 100 at a time, /s": partial(calls, peer, 100),
            "calls, 1,000 at a time, /s": partial(calls, peer, 1000),
            "upload, 64 KiB chunks, MiB/s": partial(upload, peer, 65536, 512 * MIB),
            "upload, 1 KiB chunks, MiB/s": partial(upload, peer, 1024, 16 * MIB),
        }
        # In rounds, so that a busy machine slows all rows alike.
        rounds = [{name: await rate() for name, rate in rates.items()} for _ in range(RUNS)]
        print(f"| median of {RUNS} | |\n|---|---:|")
        for name in rates:
            print(f"| {name} | {median(found[name] for found in rounds):,.0f} |", flush=True)


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        trio.run(serve_forever)
        return
    command = [sys.executable, "-m", "tests.benchmarks.rpc_speed", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port, echo_port = map(int, server.stdout.readline().split())
        try:
            trio.run(measure, port, echo_port)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
