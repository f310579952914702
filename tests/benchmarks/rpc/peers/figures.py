"""What all clients of the benchmark have in common: a line of JSON asks for a figure, a line of JSON answers.

Every call is timed by itself, for everybody in the same way, so that rates and percentiles come from the same calls.
"""

# ruff: noqa: TID251 - a program that measures time

from __future__ import annotations

import asyncio
import json
import sys
from statistics import quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Measures: TypeAlias = "dict[str, Callable[..., Awaitable[dict[str, float]]]]"
"""What a client can measure, by the name it is asked by."""
MIB = 1 << 20
FIELDS = {"n": 1, "name": "world", "excited": False}
PATIENCE = 30.0
"""Seconds that every call has, where the library knows deadlines."""


def greet(n: int, name: str, excited: bool) -> dict[str, object]:
    """What the handler of every server does with a request."""
    return {"n": n, "text": f"hello {name}{'!' if excited else ''}"}


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)  # noqa: T201 - this is how the processes talk


def read_command(line: str) -> tuple[str, dict[str, Any]]:
    """What to measure, and how."""
    command = json.loads(line)
    return command.pop("measure"), command


def next_line() -> str:
    return sys.stdin.readline()


async def keep_asking(call: Callable[[], Awaitable[object]], until: float, taken: list[float]) -> None:
    """One of those that ask at the same time; what each of its calls took is added to ``taken``."""
    while (began := perf_counter()) < until:
        await call()
        taken.append(perf_counter() - began)


async def asked_on_asyncio(
    call: Callable[[], Awaitable[object]], *, concurrency: int, seconds: float
) -> dict[str, float]:
    """The figures of so many that ask at the same time, for so long, on asyncio."""
    taken: list[float] = []
    began = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(keep_asking(call, began + seconds, taken))
    return rate_of(taken, perf_counter() - began)


def rate_of(taken: list[float], seconds: float) -> dict[str, float]:
    """The figures of calls that took so long, all within so many seconds."""
    hundredths = quantiles(taken, n=100) if len(taken) > 1 else taken * 99
    return {"count": len(taken), "rate": len(taken) / seconds, "p50": hundredths[49] * 1e3, "p99": hundredths[98] * 1e3}
