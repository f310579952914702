"""The process that is measured: a node that prints what it believes about whom, as it comes to believe it.

Each line of stdout is a word and a name: ``alive n3``. The words are those of `Instrument.member_changed`,
``unreached`` after a probe that failed, ``ready`` before the node opens, ``up`` afterwards. It leaves on SIGINT or
SIGTERM.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys

import trio

from swimring.instrument import Instrument
from swimring.node import open_node
from swimring.swim import PROFILES

CLUSTER = "bench"


class Telling(Instrument):
    """Prints what the node believes."""

    def member_changed(self, name: str, status: str) -> None:
        say(status, name)

    def probe_finished(self, name: str, rtt: float | None) -> None:
        if rtt is None:
            say("unreached", name)


def say(word: str, name: str) -> None:
    os.write(1, f"{word} {name}\n".encode())


async def run(options: argparse.Namespace) -> None:
    profile = PROFILES[options.profile]
    if options.no_refusals:
        profile = dataclasses.replace(profile, refusals_to_confirm=None)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_node(
            cluster=CLUSTER,
            name=options.name,
            listen=options.listen,
            join=options.join,
            profile=profile,
            instruments=[Telling()],
        ) as node:
            say("up", node.name)
            async for _ in signals:
                break


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("listen")
    parser.add_argument("profile")
    parser.add_argument("--join", action="append", required=True, help="for the first one its own address")
    parser.add_argument("--no-refusals", action="store_true")
    parser.add_argument("--gate", action="store_true", help="open the node when a line comes in")
    options = parser.parse_args()
    say("ready", options.name)
    if not options.gate or sys.stdin.readline():
        trio.run(run, options)


if __name__ == "__main__":
    main()
