"""rpyc: a threaded server, and a client that keeps as many asynchronous requests under way as asked for."""

# ruff: noqa: TID251 - a program that measures time
from __future__ import annotations

import gc
import sys
import threading
from collections import deque
from time import perf_counter
from typing import Any

import rpyc
from rpyc.utils.server import ThreadedServer

from .figures import FIELDS, PATIENCE, greet, next_line, rate_of, read_command, say


class Bench(rpyc.Service):  # type: ignore[misc] # rpyc has no types
    def exposed_greet(self, n: int, name: str, excited: bool) -> tuple[object, ...]:
        # By value, as everybody else sends it: a dict would be a reference, asked for its items one by one.
        return tuple(greet(n, name, excited).values())


def serve() -> None:
    server = ThreadedServer(Bench, hostname="127.0.0.1", port=0)
    threading.Thread(target=server.start, daemon=True).start()
    gc.freeze()
    say(address=str(server.port))
    next_line()


def calls(connection: Any, *, concurrency: int, seconds: float) -> dict[str, float]:
    taken: list[float] = []
    began = perf_counter()
    until = began + seconds
    if concurrency == 1:
        while (started := perf_counter()) < until:
            connection.root.greet(**FIELDS)
            taken.append(perf_counter() - started)
        return rate_of(taken, perf_counter() - began)
    ask = rpyc.async_(connection.root.greet)
    under_way = deque((perf_counter(), ask(**FIELDS)) for _ in range(concurrency))
    while under_way:
        started, result = under_way.popleft()
        _ = result.value
        now = perf_counter()
        taken.append(now - started)
        if now < until:
            under_way.append((now, ask(**FIELDS)))
    return rate_of(taken, perf_counter() - began)


def measure(address: str) -> None:
    connection = rpyc.connect("127.0.0.1", int(address), config={"sync_request_timeout": PATIENCE})
    gc.freeze()
    say(can=["calls"])
    while line := next_line():
        _what, how = read_command(line)
        say(**calls(connection, **how))


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else measure(sys.argv[2])
