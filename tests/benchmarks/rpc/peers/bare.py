"""Nothing but Trio's `SocketStream`: the same number of bytes there and back, and bytes in one direction.

It is what our own figures are measured against, since nothing that is built on it can be faster.
"""

# ruff: noqa: TID251 - a program that measures time
from __future__ import annotations

import gc
import math
import sys
from functools import partial
from time import perf_counter

import trio

from swimring.codec import encode
from swimring.identity import NodeId
from swimring.mux import CallArrived, CallHeader, CallKind, Limits, Session, encode_fields

from .figures import FIELDS, MIB, PATIENCE, Measures, greet, keep_asking, next_line, rate_of, read_command, say
from .with_swimring import KEY

CHUNK = 65536


def sizes() -> tuple[int, int]:
    """The bytes of one of our requests, and of its answer, once the connection is open."""
    here, there = (
        Session(me=NodeId(name, 1), cluster="bench", limits=Limits(), dialled=name == "client")
        for name in ("client", "server")
    )
    for _ in range(2):
        there.receive(here.bytes_to_send())
        here.receive(there.bytes_to_send())
    header = CallHeader(ns="bench", cmd="greet", key=KEY, kind=CallKind.REQUEST, remaining=PATIENCE)
    here.request(header, encode_fields(FIELDS))
    request = here.bytes_to_send()
    (arrived,) = (event for event in there.receive(request) if isinstance(event, CallArrived))
    there.reply(arrived.call_id, encode(greet(1, "world", excited=False)))
    return len(request), len(there.bytes_to_send())


async def echo(stream: trio.SocketStream) -> None:
    """Answer each request; a first byte of 1 says that only bytes will come, whose number is the answer."""
    request, answer = sizes()
    first = await stream.receive_some(CHUNK)
    if first[:1] == b"\1":
        size = len(first)
        while chunk := await stream.receive_some(CHUNK):
            size += len(chunk)
        await stream.send_all(str(size).encode())
        return
    assert len(first) == request
    while first:
        await stream.send_all(bytes(answer))
        first = await stream.receive_some(CHUNK)


async def serve() -> None:
    gc.freeze()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, echo, listeners))
        say(address=str(listeners[0].socket.getsockname()[1]))
        await trio.to_thread.run_sync(next_line)
        nursery.cancel_scope.cancel()


async def calls(port: int, *, concurrency: int, seconds: float) -> dict[str, float]:
    assert concurrency == 1, "there is nothing that tells one answer from another"
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    data = bytes(sizes()[0])

    async def call() -> None:
        await stream.send_all(data)
        await stream.receive_some(CHUNK)

    taken: list[float] = []
    began = perf_counter()
    await keep_asking(call, began + seconds, taken)
    await stream.aclose()
    return rate_of(taken, perf_counter() - began)


async def bulk(port: int, *, chunk: int, total: int) -> dict[str, float]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    blob, count = bytes([1]) * chunk, total // chunk
    began = perf_counter()
    for _ in range(count):
        await stream.send_all(blob)
    await stream.send_eof()
    assert int(await stream.receive_some(CHUNK)) == count * chunk
    taken = perf_counter() - began
    await stream.aclose()
    return {"rate": count * chunk / MIB / taken}


MEASURES: Measures = {"calls": calls, "bulk": bulk}


async def measure(address: str) -> None:
    gc.freeze()
    say(can=["calls 1", "bulk"])
    while line := await trio.to_thread.run_sync(next_line):
        what, how = read_command(line)
        say(**await MEASURES[what](int(address), **how))


if __name__ == "__main__":
    assert math.isfinite(PATIENCE)
    trio.run(serve) if sys.argv[1] == "serve" else trio.run(measure, sys.argv[2])
