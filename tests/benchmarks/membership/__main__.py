"""Membership beside Serf and beside the theory: the tables of docs/concepts/membership.md.

Run it from the root of the repository: ``python -m tests.benchmarks.membership``. It takes some 25 minutes and then as
long as the simulations do, see `tests.benchmarks.membership_simulated`; with ``--rows G5,G7`` what these rows need and
no simulation, with ``--quick`` few repetitions. As root on Linux every cluster gets a network namespace of its own;
otherwise all run on the loopback interface one after the other, and the rows that need one are left out.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from . import serf
from .machine import NAMESPACE, can_isolate, description
from .plan import Job, groups
from .rows import Results, table

if TYPE_CHECKING:
    from collections.abc import Iterable

SIMULATED: Final = "tests.benchmarks.membership_simulated"


async def run_job(job: Job, results: Results, *, isolated: bool, save: Path | None) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.membership.worker", *job.arguments]
    if isolated:
        command = [*NAMESPACE, *command, "--isolated"]
    done = await trio.run_process(command, capture_stdout=True, check=False)
    print(f"{' '.join(job.arguments)}: {done.stdout.decode().strip() or 'failed'}", file=sys.stderr, flush=True)
    if done.returncode == 0:
        merge(results.setdefault(job.key, {}), json.loads(done.stdout))
        if save:
            await trio.Path(save).write_text(json.dumps(results))


def merge(known: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]]) -> None:
    """Put the results of one more run of a job to those of its earlier runs."""
    for step, found in more.items():
        if step == "joins" and step in known:
            known[step]["full"] += found["full"]
        else:
            known[step] = found


async def run_all(plan: Iterable[list[Job]], results: Results, *, isolated: bool, save: Path | None) -> None:
    for group in plan:
        if isolated:
            async with trio.open_nursery() as nursery:
                for job in group:
                    nursery.start_soon(partial(run_job, job, results, isolated=True, save=save))
        else:
            for job in group:
                await run_job(job, results, isolated=False, save=save)


def wanted(group: list[Job], rows: set[str], *, isolated: bool, with_serf: bool) -> list[Job]:
    return [
        job
        for job in group
        if (not rows or rows & job.rows) and (isolated or not job.needs_namespace) and (with_serf or not job.needs_serf)
    ]


def main() -> None:
    # The workers end with this program, unless it is killed by SIGKILL: then each ends after its measurement.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.membership")
    parser.add_argument("--quick", action="store_true", help="few repetitions: whether it works, not what it says")
    parser.add_argument("--rows", default="", help="only these rows, such as G5,G7")
    parser.add_argument("--save", type=Path, help="write what was measured to this file, as it comes in")
    parser.add_argument("--show", type=Path, help="measure nothing: the tables of a saved file")
    options = parser.parse_args()
    results: Results = {}
    if options.show:
        results = json.loads(options.show.read_text())
    else:
        isolated, version = can_isolate(), serf.version()
        print(f"{version or 'Serf is not installed: ours alone'}; {description()}")
        if not isolated:
            print("no network namespaces here (Linux, root, iproute2): one after the other, and some rows are left out")
        rows = set(options.rows.split(",")) - {""}
        plan = [
            wanted(group, rows, isolated=isolated, with_serf=version is not None)
            for group in groups(quick=options.quick)
        ]
        trio.run(partial(run_all, plan, results, isolated=isolated, save=options.save))
        print(f"load average at the end {os.getloadavg()[0]:.1f}\n")
    print("\n".join(table(results)), flush=True)
    if not (options.show or options.rows or options.quick):
        print(flush=True)
        subprocess.run([sys.executable, "-m", SIMULATED], check=True)


if __name__ == "__main__":
    main()
