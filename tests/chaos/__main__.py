"""Run one of them: ``python -m tests.chaos rolling``, or ``nox -s chaos -- rolling --quick``.

It prints what happened beside what was hoped for. Only what is wrong (failed, lost, never done) fails it.
"""

# ruff: noqa: T201 - a program that prints
from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import trio

from . import runs
from .fleet import Broken
from .partition import partition
from .runs import Found, Plan
from .scale import scale

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

RUNS: dict[str, Callable[[Plan], Awaitable[Found]]] = {
    "rolling": runs.rolling,
    "kill": runs.kill,
    "freeze": runs.freeze,
    "zombie": runs.zombie,
    "partition": partition,
    "scale": scale,
}
QUICK = {
    "rolling": Plan(keys=60, rate=20, rounds=1, victims=2, quick=True),
    "kill": Plan(keys=60, rate=20, rounds=1, victims=1, quick=True),
    "freeze": Plan(keys=60, rate=20, rounds=1, quick=True),
    "zombie": Plan(keys=40, rate=30, rounds=1, quick=True),
    "partition": Plan(keys=60, rate=20, rounds=1, quick=True),
    "scale": Plan(keys=20_000, rate=20, quick=True),
}
WHOLE = {
    "zombie": Plan(keys=40, rate=30),
    "partition": Plan(keys=500, rate=40, rounds=1),
    "scale": Plan(keys=1_000_000, rate=100),
}


def main() -> int:
    """Run what was asked for; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="nox -s chaos --", description=__doc__)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--quick", action="store_true", help="fewer keys and calls, and one round")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    parser.add_argument("--careless", action="store_true", help="plant a bug: the table of the zombie checks no fence")
    parser.add_argument("--seed", type=int, help="of victims, keys and moments")
    parser.add_argument("--keys", type=int, help="how many counters")
    parser.add_argument("--rate", type=float, help="calls a second")
    parser.add_argument("--rounds", type=int, help="how often everything happens")
    parser.add_argument("--victims", type=int, help="how many nodes are restarted or killed in a round")
    parser.add_argument("--hold", type=int, help="seconds for which the place of a node that comes back is kept")
    given = vars(parser.parse_args())
    name, quick, as_json = given.pop("run"), given.pop("quick"), given.pop("json")
    plan = QUICK[name] if quick else WHOLE.get(name, Plan())
    plan = Plan(**{**asdict(plan), **{key: value for key, value in given.items() if value is not None}})
    try:
        found = trio.run(_run, RUNS[name], plan)
    except* Broken as group:
        found = Found(name=name, figures={}, broken=[str(error) for error in _leaves(group)])
    machine: Mapping[str, object] = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    if as_json:
        print(json.dumps({**asdict(found), "plan": asdict(plan), "machine": machine}))
    else:
        _print(found, plan, machine)
    return 1 if found.broken else 0


async def _run(run: Callable[[Plan], Awaitable[Found]], plan: Plan) -> Found:
    """Run it; a signal ends it as an error would, and with it everything that it has started."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_at_signal)
        found = await run(plan)
        nursery.cancel_scope.cancel()
    return found


async def _end_at_signal() -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            raise Broken(f"ended by {signal.Signals(number).name}")


def _print(found: Found, plan: Plan, machine: Mapping[str, object]) -> None:
    print(f"{found.name}: {plan.keys:,} keys, {plan.rate:,.0f} calls/s, seed {plan.seed}; {machine}")
    for name, value in found.figures.items():
        if name == "slowest":
            continue
        shown = f"{value:.3f}" if isinstance(value, float) else value
        target = f"   (target {found.targets[name]})" if name in found.targets else ""
        print(f"  {name:20} {shown}{target}")
    for one in found.figures.get("slowest", ()):
        print(f"    {one}")
    for text in found.broken:
        print(f"WRONG: {text}")
    print("all is well" if not found.broken else "something is wrong")


def _leaves(group: BaseExceptionGroup[Broken]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


if __name__ == "__main__":
    sys.exit(main())
