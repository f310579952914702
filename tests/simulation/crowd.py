"""Many members in one process: they join, some crash, the network splits and heals; and what that cost.

``python -m tests.simulation.crowd --nodes 1000 --seed 1`` prints the figures; `nox -s scale` runs it. A member here is the
whole of gossip (receiver, prober, suspicions, spreader, push-pull, healer, relay) on a host of the simulated network;
rings and calls are not in it.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import argparse
import functools
import gc
import resource
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from timeit import default_timer
from typing import TYPE_CHECKING

import trio

from swimring.gossip import Gossiper, open_gossiper
from swimring.identity import Address, NodeId
from swimring.instrument import Instrument, Instruments
from swimring.swim import Metadata, Profile, Summary
from swimring.testing import SimulatedNetwork, dice, open_simulated_network, run_simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

PORT = 7979
LOOKS_EVERY = 0.1
"""Seconds between two looks at whether all views are equal: a convergence is measured to within that."""


class Watch(Instrument):
    """Counts what the members of a crowd said of each other."""

    def __init__(self) -> None:
        self.changes: Counter[str] = Counter()
        self.failed: list[tuple[str, BaseException]] = []

    def member_changed(self, name: str, status: str) -> None:
        self.changes[status] += 1

    def duty_failed(self, duty: str, error: BaseException) -> None:
        self.failed.append((duty, error))


@dataclass(eq=False, slots=True)
class Person:
    """One member of a crowd."""

    gossiper: Gossiper
    scope: trio.CancelScope
    here: bool = True

    @property
    def name(self) -> str:
        return self.gossiper.me.name


@dataclass
class Crowd:
    """Members p0, p1, ... each on a host of its own name."""

    network: SimulatedNetwork
    nursery: trio.Nursery
    profile: Profile
    watch: Watch = field(default_factory=Watch)
    people: list[Person] = field(default_factory=list)

    @property
    def present(self) -> list[Person]:
        return [person for person in self.people if person.here]

    async def gather(self, count: int, *, within: float) -> None:
        """Let ``count`` members arrive at random times ``within`` so many seconds and join by the first three."""
        rng = dice("arrivals", self.network.seed)
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(self._arrive, number, rng.uniform(0, within) if number >= 3 else 0.0)

    async def _arrive(self, number: int, after: float) -> None:
        await trio.sleep(after)
        person: Person = await self.nursery.start(self._live, f"p{number}")
        self.people.append(person)
        await person.gossiper.join([Address(f"p{seed}", PORT) for seed in range(3) if seed != number])

    async def _live(self, name: str, *, task_status: trio.TaskStatus[Person]) -> None:
        network = self.network.at(name)
        binding = await network.bind(Address(name, PORT))
        with trio.CancelScope() as scope:
            async with (
                open_gossiper(
                    cluster="crowd",
                    me=NodeId(name, 1),
                    address=binding.address,
                    metadata=Metadata(services=("crowd",)),
                    datagrams=binding.datagrams,
                    network=network,
                    host=self.network.host(name),
                    profile=self.profile,
                    instruments=Instruments([self.watch]),
                    seeds=[Address(f"p{seed}", PORT) for seed in range(3)],
                ) as gossiper,
                trio.open_nursery() as nursery,
            ):
                task_status.started(Person(gossiper, scope))
                while True:
                    stream, remote = await binding.listener.accept()
                    nursery.start_soon(gossiper.serve_stream, stream, remote, b"")
        binding.close()

    def crash(self, victims: Iterable[Person]) -> None:
        """Kill the processes: their machines refuse connections."""
        for victim in victims:
            victim.here = False
            victim.scope.cancel()
            self.network.crash(victim.name)

    def lose(self, victims: Iterable[Person]) -> None:
        """Lose the machines: nothing answers."""
        for victim in victims:
            victim.here = False
            victim.scope.cancel()
            self.network.freeze(victim.name)

    async def agree(self, groups: Sequence[Sequence[Person]] | None = None) -> float:
        """Wait until all of each group believe of each other what each believes of itself, and of nobody else.

        Returns the seconds that took.
        """
        began = trio.current_time()
        for group in groups or [self.present]:
            wrong = 0
            while wrong < len(group):
                truth = sum(Summary.of(person.gossiper.me).fingerprint for person in group) % 2**64
                while wrong < len(group) and group[wrong].gossiper.checksum == truth:
                    wrong += 1
                if wrong < len(group):
                    group = [*group[wrong:], *group[:wrong]]  # who was wrong is the first to be looked at
                    wrong = 0
                    await trio.sleep(LOOKS_EVERY)
        return trio.current_time() - began


@asynccontextmanager
async def open_crowd(*, profile: Profile | None = None) -> AsyncIterator[Crowd]:
    """A simulated network and nobody on it yet; all members end with the block."""
    async with open_simulated_network(resolution=0.001) as network, trio.open_nursery() as nursery:
        yield Crowd(network, nursery, profile or Profile.lan())
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------------------------------------------- the long run


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a run did, and what it cost."""

    nodes: int
    joined_within: float
    """Seconds from the last arrival until all views were equal."""
    crash_known_within: float
    healed_within: float
    virtual_seconds: float
    deliveries: int
    digest: str
    datagrams: int
    datagram_bytes: int
    stream_bytes: int
    changes: dict[str, int]
    marks: tuple[tuple[str, float, float], ...]


async def ups_and_downs(nodes: int) -> Account:
    """150 virtual seconds: all join, a tenth crashes at 30, the rest is halved from 60 to 90, all views are equal."""
    marks = []

    def mark(what: str) -> None:
        marks.append((what, trio.current_time(), default_timer()))
        print(f"{what:10} at {trio.current_time():7.2f}", flush=True)

    async with open_crowd() as crowd:
        mark("start")
        await crowd.gather(nodes, within=5)
        joined = await crowd.agree()
        mark("joined")
        await trio.sleep_until(30)
        mark("crash")
        victims = dice("victims", crowd.network.seed).sample(crowd.present[3:], nodes // 10)
        crowd.crash(victims[::2])
        crowd.lose(victims[1::2])
        known = await crowd.agree()
        mark("known")
        await trio.sleep_until(60)
        mark("split")
        left, right = crowd.present[::2], crowd.present[1::2]
        with crowd.network.partition([p.name for p in left], [p.name for p in right]):
            await trio.sleep(30)
        mark("healed")
        healed = await crowd.agree()
        mark("agreed")
        await trio.sleep_until(150)
        mark("end")
        assert not crowd.watch.failed
        await crowd.agree()
        hosts = [crowd.network.statistics(person.name) for person in crowd.people]
        return Account(
            nodes=nodes,
            joined_within=joined,
            crash_known_within=known,
            healed_within=healed,
            virtual_seconds=trio.current_time(),
            deliveries=crowd.network.trace.count,
            digest=crowd.network.trace.digest,
            datagrams=sum(host.datagrams_sent for host in hosts),
            datagram_bytes=sum(host.datagram_bytes_sent for host in hosts),
            stream_bytes=sum(host.stream_bytes_sent for host in hosts),
            changes=dict(crowd.watch.changes),
            marks=tuple(marks),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF)
    gc.set_threshold(
        100_000, 20, 20
    )  # a million live objects: going through them again and again takes a fifth of the time
    started = default_timer()
    account = run_simulation(functools.partial(ups_and_downs, arguments.nodes), seed=arguments.seed)
    took = default_timer() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(account)
    last = started
    for what, virtual, real in account.marks:
        print(f"{what:10} at {virtual:7.2f}  {real - last:7.1f} s real")
        last = real
    print(f"real {took:.1f} cpu {cpu:.1f} rss {after.ru_maxrss / 1024:.0f} MiB, base {before.ru_maxrss / 1024:.0f}")


if __name__ == "__main__":
    main()
