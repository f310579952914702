"""Calls and streams beside those of others, in one run: `python -m tests.benchmarks.rpc`, or `nox -s bench -- rpc`.

Two processes for each peer, on loopback, with the same small message. Peers take turns in every round, forwards and
backwards, and what counts is the ratio of medians: times of one machine mean little on another, and little on a busy
one. Peers are installed into a folder of their own (``--folder``) on the first run, which takes minutes.

Whether a target is met is printed, and never fails the run.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .installing import Installed, default_folder, install, versions
from .pairs import PEERS, ROOT, Pair, PeerFailed, package_of
from .tables import print_tables

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One thing to measure, in the words of the clients."""

    name: str
    what: str
    how: dict[str, object] = field(default_factory=dict)


def measurements(seconds: float, *, bulk: int) -> list[Measurement]:
    """In the order of the tables."""
    return [
        *(
            Measurement(name=f"calls {at_once}", what="calls", how={"concurrency": at_once, "seconds": seconds})
            for at_once in (1, 100, 1000)
        ),
        Measurement(name="bulk 64", what="bulk", how={"chunk": 65536, "total": bulk}),
        Measurement(name="bulk 1", what="bulk", how={"chunk": 1024, "total": bulk // 16}),
        Measurement(name="objects", what="objects", how={"count": int(20_000 * seconds)}),
        Measurement(name="mixed", what="mixed", how={"seconds": seconds}),
    ]


Figures = dict[tuple[str, str], dict[str, float]]
"""By measurement and peer."""


def run(pairs: list[Pair], plan: list[Measurement], *, backwards: bool = False) -> Figures:
    """One round: everything once, the peers of one measurement right after each other. Who fails leaves ``pairs``."""
    found: Figures = {}
    for measurement in plan:
        for pair in pairs[:: -1 if backwards else 1]:
            if pair.does(measurement.what, measurement.how):
                try:
                    found[measurement.name, pair.peer] = pair.measure(measurement.what, **measurement.how)
                except PeerFailed as error:
                    print(f"{pair.peer} is not measured further, after {measurement.name}: {error}")
                    pairs.remove(pair)
                    pair.close()
    return found


def medians(rounds: list[Figures]) -> Figures:
    return {
        which: {part: median(one[which][part] for one in rounds) for part in parts}
        for which, parts in rounds[0].items()
        if all(which in one for one in rounds)
    }


def start(peers: list[str], installed: Installed, stack: ExitStack) -> list[Pair]:
    """Those that can be started; they end with ``stack``."""
    pairs = []
    for peer in peers:
        reason = installed.missing.get(package_of(peer))
        if reason is None:
            try:
                pair = Pair(peer, installed)
            except PeerFailed as error:
                reason = str(error)
            else:
                stack.callback(pair.close)
                pairs.append(pair)
        if reason is not None:
            print(f"{peer} is not measured: {reason}")
    return pairs


def pattern_lookups(installed: Installed) -> dict[str, float]:
    """Lookups a second with 1,000 patterns by those with 10, in the common cases."""
    command = [str(installed.python), "-m", "tests.benchmarks.rpc.peers.patterns"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rpc", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 short rounds: whether it works, not how fast it is")
    parser.add_argument("--only", action="append", choices=PEERS, help="this peer and swimring; may be repeated")
    parser.add_argument("--rounds", type=int, help="how many (default: 7)")
    parser.add_argument("--folder", type=Path, default=default_folder(), help="where peers are installed (%(default)s)")
    asked = parser.parse_args()
    peers = [peer for peer in PEERS if asked.only is None or peer in {"swimring", "bare", *asked.only}]
    rounds = asked.rounds or (3 if asked.quick else 7)
    seconds, bulk = (0.3, 64 * MIB) if asked.quick else (1.0, 512 * MIB)

    installed = install(asked.folder, {package_of(peer) for peer in peers})
    with ExitStack() as stack:
        pairs = start(peers, installed, stack)
        run(pairs, measurements(0.2, bulk=16 * MIB))  # to warm up: caches, windows, branch predictors, V8
        plan = measurements(seconds, bulk=bulk)
        found = [run(pairs, plan, backwards=number % 2 == 1) for number in range(rounds)]
    print(f"\n{versions(installed)}; {platform.system()} {platform.release()}, {os.cpu_count()} processors.")
    print(f"Medians of {rounds} rounds.\n")
    print_tables(medians(found), found, pattern_lookups(installed) if asked.only is None else {})


if __name__ == "__main__":
    main()
