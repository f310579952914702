"""What serving one small call costs in processor time: a real node, asked by a canned client that costs nearly nothing.

``python -m tests.benchmarks.serving_side`` prints microseconds of this process per call at 1 and 100 calls in flight;
``--calls`` says how many, ``--profile`` counts the Python functions that one call runs.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import argparse
import cProfile
import math
import pstats
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING

import trio

from swimring import Request, Service, open_node
from swimring.identity import NodeId
from swimring.mux import CallHeader, Limits, Phase, Session, encode_fields

if TYPE_CHECKING:
    from collections.abc import Callable

kv = Service("kv")

_FRAME = struct.Struct(">IQ")  # length and kind, flags and stream id
_CREDIT, _REQUEST, _REPLY = 0x06, 0x10, 0x11
_END, _OF_MESSAGES = 0x01 << 56, 0x02 << 56
_GRANT = 128 * 1024


@kv.on("cmd:get")
async def get(_request: Request, name: str, size: int) -> dict[str, object]:
    """What the client asks for: a small map for a small map."""
    return {"name": name, "size": size, "found": True}


def _drive(port: int, calls: int, in_flight: int) -> None:
    """The client: completes the hello, then sends a request for every reply, as many at a time as come back."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = Session(me=NodeId("canned", 1), cluster="kv", limits=Limits(), dialled=True, client=True)
        while session.phase is not Phase.OPEN:
            connection.sendall(session.bytes_to_send())
            session.receive(connection.recv(65536))
        header = CallHeader(ns="kv", cmd="get", key="user:1", remaining=30.0)
        message = header.to_bytes() + encode_fields({"name": "somebody", "size": 7})
        _ask(connection, message, calls, in_flight)


def _ask(connection: socket.socket, message: bytes, calls: int, in_flight: int) -> None:
    word, flags = len(message) << 8 | _REQUEST, _END
    ids = iter(range(1, 2 * calls, 2))
    pack, tail, owed, replies = _FRAME.pack, b"", 0, 0
    connection.sendall(b"".join(pack(word, flags | next(ids)) + message for _ in range(in_flight)))
    while replies < calls:
        data, at, more = tail + connection.recv(65536), 0, []
        while len(data) - at >= _FRAME.size:
            answer, _ = _FRAME.unpack_from(data, at)
            end = at + _FRAME.size + (answer >> 8)
            if end > len(data):
                break
            at = end
            if answer & 0xFF != _REPLY:
                continue
            replies += 1
            owed += answer >> 8
            if ident := next(ids, 0):
                more.append(pack(word, flags | ident) + message)
        tail = data[at:]
        if owed >= _GRANT:
            more.append(pack(4 << 8 | _CREDIT, _OF_MESSAGES) + owed.to_bytes(4, "big"))
            owed = 0
        if more:
            connection.sendall(b"".join(more))


async def _served(port: int, calls: int, in_flight: int) -> float:
    """Seconds of processor time that this process used for ``calls``, those for starting included."""
    command = [sys.executable, "-m", __spec__.name, "--drive", str(port), str(calls), str(in_flight)]
    before = time.process_time()
    await trio.run_process(command)
    return time.process_time() - before


async def _measure(calls: int, in_flight: int, rounds: int, around: Callable[[], None] = lambda: None) -> float:
    """Microseconds of processor time per call, the best of some rounds; a short run is taken off each."""
    best = math.inf
    async with open_node(kv, name="measured", profile="wan") as node:
        port = node.me.address.port
        await _served(port, 1000, in_flight)
        around()
        for _ in range(rounds):
            short, long = await _served(port, 1000, in_flight), await _served(port, calls + 1000, in_flight)
            best = min(best, (long - short) / calls)
        around()
    return best * 1e6


def _count_functions(calls: int) -> None:
    profile = cProfile.Profile()
    switches = iter((profile.enable, profile.disable))

    def switch() -> None:
        next(switches)()

    trio.run(_measure, calls, 100, 1, switch)
    table = pstats.Stats(profile)
    functions = sum(entry.callcount for entry in profile.getstats())
    print(f"{functions / (calls + 2000):.1f} functions a call")
    table.sort_stats("tottime").print_stats(60)


def main() -> None:
    """Run one side of it."""
    reading = argparse.ArgumentParser(description=__doc__)
    reading.add_argument("--calls", type=int, default=10_000)
    reading.add_argument("--rounds", type=int, default=3)
    reading.add_argument("--only", type=int, default=0, help="so many calls in flight")
    reading.add_argument("--profile", action="store_true")
    reading.add_argument("--drive", nargs=3, type=int, metavar=("PORT", "CALLS", "IN_FLIGHT"), help=argparse.SUPPRESS)
    options = reading.parse_args()
    if options.drive:
        _drive(*options.drive)
    elif options.profile:
        _count_functions(options.calls)
    else:
        for in_flight in (options.only,) if options.only else (1, 100):
            cost = trio.run(_measure, options.calls, in_flight, options.rounds)
            print(f"{in_flight:4} in flight: {cost:6.1f} us of processor time a call")


if __name__ == "__main__":
    main()
