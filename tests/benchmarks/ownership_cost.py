"""What keys with state cost in CPU, over all nodes together: opening, calling, checkpointing and moving one.

Run it from the root of the repository: ``python -m tests.benchmarks.ownership_cost``, or by ``nox -s bench --
ownership_cost``. Five nodes of one simulation, so nothing but the work is measured, the simulated network included;
messages,
tasks and questions to other nodes follow from the seed, CPU is of your machine. ``--profile PHASE`` says where it goes.
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
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from swimring import Request, Service
from swimring.ownership.asking import Asking
from swimring.testing import open_sim_cluster, run_simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from swimring.testing import SimCluster

NODES = 5
Call: TypeAlias = "Callable[[Sequence[str], Any], Awaitable[None]]"
COLUMNS = "{:44} {:>10} {:>11} {:>8} {:>8}  {}"

app = Service("counter")
counters = app.own_keys(int, replicas=2)


@app.on("add")
async def add(request: Request) -> int:
    own = counters.of(request)
    own.state += 1
    await own.checkpoint()
    return own.state


@app.on("read", idempotent=True)
async def read(request: Request) -> int:
    return counters.of(request).state


class Tasks(trio.abc.Instrument):
    """How many tasks were started."""

    def __init__(self) -> None:
        self.count = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


class Asked:
    """How often nodes asked each other, by command."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._ask = Asking.ask

    def count(self) -> None:
        """From now on, for the rest of this process."""
        ask, counts = self._ask, self.counts

        async def counted(asking: Asking, name: str, cmd: str, fields: Mapping[str, object]) -> Any:
            counts[cmd] += 1
            return await ask(asking, name, cmd, fields)

        Asking.ask = counted  # type: ignore[assignment, method-assign]


class Meter:
    """Measures phases of one simulation and prints each as a line, for one key."""

    def __init__(self, cluster: SimCluster, asked: Asked, profiled: str) -> None:
        self._cluster = cluster
        self._asked = asked
        self._profiled = profiled

    @contextmanager
    def phase(self, name: str, keys: Callable[[], float]) -> Iterator[None]:
        tasks, trace, asked = Tasks(), self._cluster.network.trace, self._asked.counts
        profiler = cProfile.Profile() if self._profiled and self._profiled in name else None
        trio.lowlevel.add_instrument(tasks)
        before, delivered, cpu = asked.copy(), trace.count, _cpu()
        if profiler is not None:
            profiler.enable()
        yield
        if profiler is not None:
            profiler.disable()
        spent = _cpu() - cpu
        trio.lowlevel.remove_instrument(tasks)
        per = keys()
        questions = ", ".join(f"{cmd} {count / per:.2f}" for cmd, count in sorted((asked - before).items()))
        print(
            COLUMNS.format(
                name,
                f"{per:,.0f}",
                f"{spent / per * 1e6:,.0f} µs",
                f"{(trace.count - delivered) / per:.1f}",
                f"{tasks.count / per:.2f}",
                questions,
            ),
            flush=True,
        )
        if profiler is not None:
            pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def call_all(cluster: SimCluster, keys: Sequence[str], endpoint: Any, *, hands: int) -> None:
    """Call each key once, ``hands`` at a time, from a member that takes no keys."""
    asker, rest = cluster.nodes[-1].node, iter(keys)

    async def next_ones() -> None:
        for key in rest:
            await asker.call(endpoint, key)

    async with trio.open_nursery() as nursery:
        for _ in range(hands):
            nursery.start_soon(next_ones)


async def quiet(cluster: SimCluster) -> None:
    """Wait until no copy is missing anywhere."""
    await trio.sleep(20)
    assert not any(one.node.ownership_statistics().keys_left for one in cluster.running)


def copies_sent(cluster: SimCluster) -> int:
    """By those that stay."""
    return sum(one.node.ownership_statistics().copies_sent for one in cluster.running if one.name != "n1")


async def measure(count: int, hands: int, asked: Asked, profiled: str) -> None:
    """All phases, one after the other."""
    async with open_sim_cluster() as cluster:
        await cluster.start(NODES, app)
        await cluster.start(1, app, weight=0)
        await cluster.settled()
        meter = Meter(cluster, asked, profiled)
        call = functools.partial(call_all, cluster, hands=hands)
        await call([f"warm {number}" for number in range(200)], add)
        await measure_calls(cluster, meter, call, [f"k{number}" for number in range(count)])
        await measure_moves(cluster, meter, call, [f"k{number}" for number in range(count)])


async def measure_calls(cluster: SimCluster, meter: Meter, call: Call, keys: Sequence[str]) -> None:
    """What costs while no node comes or goes."""
    everything = functools.partial(float, len(keys))
    with meter.phase("open a new key, read it; the ring is young", everything):
        await call(keys, read)
    with meter.phase("read an open key", everything):
        await call(keys, read)
    with meter.phase("checkpoint an open key", everything):
        await call(keys, add)
    await quiet(cluster)
    with meter.phase("nothing for 60 s (for 1 key)", lambda: 1):
        await trio.sleep(60)
    with meter.phase("open a new key, read it; the ring is old", everything):
        await call([f"other {key}" for key in keys], read)
    await quiet(cluster)


async def measure_moves(cluster: SimCluster, meter: Meter, call: Call, keys: Sequence[str]) -> None:
    """What costs when a node leaves and comes back, while all keys are called now and then."""
    leaving = cluster.nodes[0]
    await call(keys, read)
    moved = [key for key in keys if cluster.owner_of(key, app) is leaving]
    sent = copies_sent(cluster)
    with meter.phase("drain, then read the keys that moved: a key", lambda: float(len(moved))):
        await leaving.node.drain()
        await call(moved, read)
    with meter.phase("repair after it: a copy that is sent", lambda: copies_sent(cluster) - sent or 1.0):
        await leaving.drain()
        await quiet(cluster)
    await call(keys, read)
    with meter.phase("join, then read the keys that moved: a key", lambda: float(len(moved))):
        await leaving.restart()
        await quiet(cluster)
        await call(moved, read)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--hands", type=int, default=50, help="calls at a time")
    parser.add_argument("--profile", default="", metavar="PHASE", help="profile the phases with this in their name")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    asked = Asked()
    asked.count()
    print(f"{NODES} nodes, {options.keys:,} keys with 2 replicas, {options.hands} calls at a time")
    print(COLUMNS.format("", "for each of", "CPU", "packets", "tasks", "questions between nodes"))
    scenario: Callable[[], Awaitable[None]] = functools.partial(
        measure, options.keys, options.hands, asked, options.profile
    )
    run_simulation(scenario, seed=options.seed)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
