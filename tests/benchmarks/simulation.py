"""What a simulation costs: steps of tasks, and virtual seconds, for a second of CPU, by the size of the cluster.

Run it from the root of the repository: ``python -m tests.benchmarks.simulation``, or by ``nox -s bench -- simulation``.
``--large`` adds a crowd of a thousand, which takes minutes; ``--nodes N`` measures that many whole nodes only, and
``--profile`` says where CPU goes. How much
was done follows from the seed; what it cost is of your machine.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import argparse
import cProfile
import functools
import logging
import pstats
import resource
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from swimring import Node, Request, Service
from swimring.testing import SimulatedNetwork, open_sim_cluster, run_simulation
from tests.simulation.crowd import open_crowd

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

app = Service("app")
COLUMNS = "{:34} {:>10} {:>11} {:>8} {:>13} {:>20} {:>9}"


@app.on("echo", idempotent=True)
async def echo(request: Request, number: int) -> int:
    return number


async def ask(node: Node, number: int) -> int:
    return await node.call(echo, f"key {number}", number)


class Steps(trio.abc.Instrument):
    """How often a task took a step."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What some virtual time cost.

    Attributes:
        seconds: of virtual time.
        steps: that tasks took.
        deliveries: of the network.
        cpu: seconds.
    """

    seconds: float
    steps: int
    deliveries: int
    cpu: float


class Meter:
    """Measures one block of a simulation."""

    cost: Cost

    def __init__(self, network: SimulatedNetwork) -> None:
        self._network = network

    @contextmanager
    def running(self) -> Iterator[None]:
        steps, trace = Steps(), self._network.trace
        trio.lowlevel.add_instrument(steps)
        began, delivered, cpu = trio.current_time(), trace.count, _cpu()
        yield
        self.cost = Cost(
            seconds=trio.current_time() - began,
            steps=steps.count,
            deliveries=trace.count - delivered,
            cpu=_cpu() - cpu,
        )
        trio.lowlevel.remove_instrument(steps)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def whole_nodes(count: int, rate: float, seconds: float) -> Cost:
    """A cluster that is settled, with or without calls."""
    async with open_sim_cluster() as cluster:
        await cluster.start(count, app)
        await cluster.settled()
        meter = Meter(cluster.network)
        with meter.running():
            if rate:
                async with cluster.load(ask, rate=rate):
                    await trio.sleep(seconds)
            else:
                await trio.sleep(seconds)
    return meter.cost


async def growing(count: int) -> Cost:
    """A cluster from before its first node has started until 30 s after all see each other."""
    async with open_sim_cluster() as cluster:
        meter = Meter(cluster.network)
        with meter.running():
            await cluster.start(count, app)
            await cluster.settled()
            await trio.sleep(30)
    return meter.cost


async def crowd(count: int, seconds: float) -> Cost:
    """Members without rings and connections, from before the first has joined."""
    async with open_crowd() as people:
        meter = Meter(people.network)
        with meter.running():
            await people.gather(count, within=5)
            await trio.sleep(seconds - trio.current_time())
    return meter.cost


def show(name: str, scenario: Callable[[], Awaitable[Cost]], *, seed: int) -> None:
    cost = run_simulation(scenario, seed=seed)
    print(
        COLUMNS.format(
            name,
            f"{cost.seconds:.0f} s",
            f"{cost.steps:,}",
            f"{cost.cpu:.2f} s",
            f"{cost.steps / cost.cpu:,.0f}",
            f"{cost.seconds / cost.cpu:.2f}",
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB",
        ),
        flush=True,
    )


def profile(seed: int) -> None:
    """Whose code the CPU goes to while five nodes have 20 calls a second; built-ins count for their callers."""
    profiler = cProfile.Profile()
    profiler.runcall(run_simulation, functools.partial(whole_nodes, 5, 20, 60), seed=seed)
    shares: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, callers) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if file == "~":
            for (caller, _, _), (_, _, time, _) in callers.items():
                shares[_package(caller)] += time
        else:
            shares[_package(file)] += own
    for package, time in shares.most_common(12):
        print(f"{package:20} {time / shares.total():5.1%}")


def _package(file: str) -> str:
    for known in ("swimring", "trio", "outcome"):
        _, found, inside = file.rpartition(f"/{known}/")
        if found:
            return f"swimring.{inside.partition('/')[0].removesuffix('.py')}" if known == "swimring" else known
    return "the rest"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="a crowd of a thousand, too")
    parser.add_argument("--nodes", type=int, help="that many whole nodes instead, from before the first has started")
    parser.add_argument("--profile", action="store_true", help="say where the CPU goes instead")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.profile:
        profile(options.seed)
        return
    print(COLUMNS.format("", "virtual", "steps", "CPU", "steps / CPU s", "virtual s / CPU s", "peak"))
    if options.nodes:
        whole = functools.partial(growing, options.nodes)
        show(f"{options.nodes} nodes that join, and 30 s", whole, seed=options.seed)
        return
    for count, seconds in ((5, 120), (50, 30)):
        for rate in (0, 20):
            name = f"{count} nodes, {rate or 'no'} calls a second"
            show(name, functools.partial(whole_nodes, count, rate, seconds), seed=options.seed)
    for count in (100, 1000) if options.large else (100,):
        name = f"{count} members that join, no rings"
        show(name, functools.partial(crowd, count, 30), seed=options.seed)


if __name__ == "__main__":
    main()
