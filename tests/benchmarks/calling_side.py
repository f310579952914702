"""What one small call costs the process that makes it, in processor time and in Python calls.

Run it from the root of the repository: ``python -m tests.benchmarks.calling_side``; it takes 10 seconds. The caller is
a whole node: `Node.request` with a key that the other node owns, inside `trio.fail_after`. The other process is a node
for all but its connections, where a loop of a few lines answers each request with the same bytes, so that it is never
what the caller waits for. Processor time hardly moves when other work keeps the machine busy.

``... calling_side profile`` shows which functions are called, and how often per call of the node.
"""

# ruff: noqa: T201 - a program that prints
from __future__ import annotations

import cProfile
import gc
import pstats
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

import trio

from swimring import Node, Service, open_node
from swimring.codec import encode
from swimring.errors import Unreachable
from swimring.mux import Session
from swimring.mux.frames import END, HEADER, HEADER_SIZE, MESSAGES, Kind, frame
from swimring.rpc import Pool
from tests.benchmarks.other_side import other_side

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.identity import Address
    from swimring.rpc.connection import Connection

RUNS = 5
CALLS = {1: 500, 100: 4000, 1000: 4000}
PATIENCE = 30.0
MESSAGE = {"ns": "bench", "cmd": "greet", "key": "k", "n": 1, "name": "world", "excited": False}
REPLY = encode({"n": 1, "text": "hello world"})
GRANT = 1 << 20

bench = Service("bench")


# ------------------------------------------------------------------------------------------------- the other process


class CannedPool(Pool):
    """Answers every request of its peers with the same value."""

    async def serve_stream(self, stream: trio.abc.Stream, remote: Address, received: bytes = b"") -> None:
        hello = Session(me=self.me, cluster="bench", limits=self._limits, dialled=False)
        hello.receive(received)
        while hello.peer is None:
            hello.receive(bytes(await stream.receive_some(65536)))
        await stream.send_all(hello.bytes_to_send())
        data, owed = b"", 0
        while received := bytes(await stream.receive_some(65536)):
            data += received
            at, answers = 0, []
            while len(data) - at >= HEADER_SIZE:
                word, call_id = HEADER.unpack_from(data, at)
                length = word >> 8
                if at + HEADER_SIZE + length > len(data):
                    break
                at += HEADER_SIZE + length
                if word & 0xFF == Kind.REQUEST:
                    owed += length
                    answers.append(frame(Kind.REPLY, END, call_id & 0xFFFFFFFF, REPLY))
            if owed >= GRANT:
                answers.append(frame(Kind.CREDIT, MESSAGES, 0, owed.to_bytes(4, "big")))
                owed = 0
            data = data[at:]
            await stream.send_all(b"".join(answers))

    async def connect(self, name: str, address: Address | None, generation: int = 0) -> Connection:
        """No second connection beside the one that is measured."""
        await trio.lowlevel.checkpoint()
        raise Unreachable("this node only answers", owner=name)


async def serve_forever() -> None:
    Pool.connect = CannedPool.connect  # type: ignore[method-assign, assignment]
    Pool.serve_stream = CannedPool.serve_stream  # type: ignore[method-assign, assignment] # all else is as it always is
    async with open_node(bench, cluster="bench", name="server", listen="127.0.0.1:0", join=["127.0.0.1:1"]) as node:
        print(node.me.address, flush=True)
        await trio.sleep_forever()


# -------------------------------------------------------------------------------------------------------- measuring


async def spend(call: Callable[[], Awaitable[object]], *, concurrency: int, count: int) -> float:
    """Microseconds of processor time per call."""

    async def keep_asking(times: int) -> None:
        for _ in range(times):
            await call()

    began = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(concurrency):
            nursery.start_soon(keep_asking, count // concurrency)
    return (time.process_time() - began) / count * 1e6


async def show(node: Node) -> None:
    async def ask() -> None:
        with trio.fail_after(PATIENCE):
            await node.request(MESSAGE)

    async def nothing() -> None:
        with trio.fail_after(PATIENCE):
            await trio.lowlevel.checkpoint()

    rows = [("a call", ask, concurrency, count) for concurrency, count in CALLS.items()]
    rows.append(("trio.fail_after around a checkpoint", nothing, 100, CALLS[100]))
    rounds = [[await spend(call, concurrency=many, count=count) for _, call, many, count in rows] for _ in range(RUNS)]
    print("| median of processor time, us | at a time | |\n|---|---:|---:|")
    for (name, _, many, _), *found in zip(rows, *rounds, strict=True):
        print(f"| {name} | {many:,} | {median(found):.1f} |")


async def show_profile(node: Node) -> None:
    async def ask() -> None:
        await node.request(MESSAGE)

    count = CALLS[100]
    await spend(ask, concurrency=100, count=count)
    profile = cProfile.Profile()
    profile.enable()
    await spend(ask, concurrency=100, count=count)
    profile.disable()
    stats = pstats.Stats(profile).sort_stats("ncalls")
    stats.print_stats(75)
    total = sum(calls for calls, *_ in stats.stats.values())  # type: ignore[attr-defined] # typeshed leaves it out
    written = sum(calls for (path, *_), (calls, *_) in stats.stats.items() if path != "~")  # type: ignore[attr-defined]
    print(f"{written / count:.1f} calls of Python functions per call of the node, {total / count:.1f} with those in C")


async def measure(address: str) -> None:
    # Without a service and without weight, so that the server owns every key.
    async with open_node(cluster="bench", name="client", listen="127.0.0.1:0", join=[address], weight=0) as node:
        await node.wait_ring("bench", nodes=1)
        await node.request(MESSAGE)
        gc.freeze()
        await (show_profile(node) if sys.argv[1:] == ["profile"] else show(node))


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        trio.run(serve_forever)
        return
    with other_side("calling_side") as address:
        trio.run(measure, address)


if __name__ == "__main__":
    main()
