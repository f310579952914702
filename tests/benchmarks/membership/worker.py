"""One measurement in a process of its own, in its network namespace; prints the result as JSON."""

from __future__ import annotations

import argparse
import json

import trio

from . import crowd, measures
from .agents import Kind
from .machine import set_up_loopback


async def work(options: argparse.Namespace) -> object:
    if options.isolated:
        set_up_loopback()
    if options.system == "crowd":
        return await crowd.measure(options.size, options.steps, options.count)
    kind = Kind(
        system=options.system,
        profile=options.profile,
        size=options.size,
        refusals=not options.no_refusals,
        halves="partition" in options.steps,
    )
    if options.steps == ["joins"]:
        return {"joins": await measures.joins(kind, options.count)}
    return await measures.measure(kind, options.steps, options.count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("system", choices=["swimring", "serf", "crowd"])
    parser.add_argument("profile", choices=["local", "lan"])
    parser.add_argument("size", type=int)
    parser.add_argument("steps", nargs="+")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--no-refusals", action="store_true")
    parser.add_argument("--isolated", action="store_true")
    options = parser.parse_args()
    print(json.dumps(trio.run(work, options)))  # noqa: T201 - a program prints


if __name__ == "__main__":
    main()
