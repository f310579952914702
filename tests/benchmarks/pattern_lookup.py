"""What finding a handler costs, by the number of registered patterns: the table of docs/concepts/patterns.md.

Run it from the root of the repository: ``python -m tests.benchmarks.pattern_lookup``. It takes a minute. Sizes take
turns in each round, and times are of the processor, so that other work on the machine hurts the ratios little.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import re
import timeit
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

from swimring.patterns import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SIZES = (10, 100, 1000)
ROUNDS = 15
SECONDS = 0.03
"""Of each measurement."""


@dataclass(frozen=True, slots=True)
class Case:
    """Patterns, and a message that the last of them matches."""

    name: str
    pattern: Callable[[int], Mapping[str, object]]
    message: Callable[[int], Mapping[str, object]]


def text(number: int) -> re.Pattern[str]:
    return re.compile(f"^item-{number}$")


CASES = (
    Case("a service with n commands", lambda n: {"ns": "kv", "cmd": f"c{n}"}, lambda n: {"ns": "kv", "cmd": f"c{n}"}),
    Case("n services with one command", lambda n: {"ns": f"s{n}", "cmd": "c"}, lambda n: {"ns": f"s{n}", "cmd": "c"}),
    Case(
        "one command, n values of another field",
        lambda n: {"ns": "kv", "cmd": "c", "kind": n},
        lambda n: {"ns": "kv", "cmd": "c", "kind": n},
    ),
    Case(
        "n commands, each with a type and a regular expression",
        lambda n: {"ns": "kv", "cmd": f"c{n}", "size": int, "to": re.compile("^eu-")},
        lambda n: {"ns": "kv", "cmd": f"c{n}", "size": 5, "to": "eu-1"},
    ),
    Case("bad: n regular expressions on one field", lambda n: {"name": text(n)}, lambda n: {"name": f"item-{n}"}),
    Case(
        "bad: one command, n regular expressions",
        lambda n: {"ns": "kv", "cmd": "c", "name": text(n)},
        lambda n: {"ns": "kv", "cmd": "c", "name": f"item-{n}"},
    ),
    Case(
        "bad: n nested literals of one command",
        lambda n: {"ns": "kv", "cmd": "c", "to": {"zone": n}},
        lambda n: {"ns": "kv", "cmd": "c", "to": {"zone": n}},
    ),
)


def router_of(case: Case, size: int) -> Router[int]:
    router = Router[int]()
    for number in range(size):
        router.add(case.pattern(number), number)
    return router


def measured(case: Case, *, hit: bool) -> list[float]:
    """Lookups per second of processor time for each size."""
    timers, runs = [], []
    for size in SIZES:
        router = router_of(case, size)
        # A value of its own in each message: the interpreter must not find the text by identity.
        message = dict(case.message(size - 1 if hit else size))
        assert (router.lookup(message) is not None) == hit
        timer = timeit.Timer(lambda router=router, message=message: router.lookup(message), timer=process_time)  # type: ignore[misc]
        timers.append(timer)
        runs.append(max(1, round(SECONDS / (timer.timeit(200) / 200))))
    rates: list[list[float]] = [[] for _ in SIZES]
    for _ in range(ROUNDS):
        for timer, count, found in zip(timers, runs, rates, strict=True):
            found.append(count / timer.timeit(count))
    return [median(found) for found in rates]


def main() -> None:
    print("| patterns | lookup | " + " | ".join(f"{size}, /s" for size in SIZES) + " | 1,000 against 10 |")
    print("|---|---" + "|---:" * (len(SIZES) + 1) + "|")
    for case in CASES:
        for hit in (True, False):
            rates = measured(case, hit=hit)
            shown = " | ".join(f"{rate:,.0f}" for rate in rates)
            print(f"| {case.name} | {'found' if hit else 'none'} | {shown} | {rates[-1] / rates[0]:.2f} |")


if __name__ == "__main__":
    main()
