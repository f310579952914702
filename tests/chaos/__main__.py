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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.benchmarks.rpc.installing import default_folder

from . import runs
from .beside_casty import HOW, beside, find_casty
from .fleet import Broken, leaves
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
    "scale": Plan(keys=1_000_000, rate=30),
}


def read_arguments() -> dict[str, Any]:
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
    parser.add_argument("--restart-after", type=float, help="seconds after a kill, not when the others know of it")
    told = " and ".join(f"{word}: {meaning}" for word, meaning in HOW.items())
    parser.add_argument("--beside-casty", nargs="*", choices=HOW, help=f"kill: casty too, and after us; {told}")
    parser.add_argument("--folder", type=Path, default=default_folder(), help="where casty is installed (%(default)s)")
    given = vars(parser.parse_args())
    if given["beside_casty"] is not None and given["run"] != "kill":
        parser.error("casty is only killed")
    return given


def main() -> int:
    """Run what was asked for; 1 if anything is wrong."""
    given = read_arguments()
    name, quick, as_json = given.pop("run"), given.pop("quick"), given.pop("json")
    how, folder = given.pop("beside_casty"), given.pop("folder")
    run = RUNS[name] if how is None else partial(beside, RUNS[name], find_casty(folder, how))
    plan = QUICK[name] if quick else WHOLE.get(name, Plan())
    plan = Plan(**{**asdict(plan), **{key: value for key, value in given.items() if value is not None}})
    try:
        found = trio.run(_run, run, plan)
    except* Broken as group:
        found = Found(name=name, figures={}, broken=[str(error) for error in leaves(group)])
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
    for name in (name for name in {**found.figures, **found.beside} if name not in ("slowest", "said")):
        target = f"   (target {found.targets[name]})" if name in found.targets else ""
        ours = f"{_shown(found.figures[name])}{target}" if name in found.figures else ""
        theirs = f"   | casty: {_shown(found.beside[name])}" if name in found.beside else ""
        print(f"  {name:20} {ours}{theirs}")
    for one in found.figures.get("slowest", ()):
        print(f"    {one}")
    for text in found.beside.get("said", ()):
        print(f"casty: {text}")
    for text in found.broken:
        print(f"WRONG: {text}")
    print("all is well" if not found.broken else "something is wrong")


def _shown(value: object) -> object:
    return f"{value:.3f}" if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
