"""A crowd: many members in one process, each the whole of gossip on a host of its own, without rings and calls.

A member here is what `open_gossiper` runs (receiver, prober, suspicions, spreader, push-pull, healer, relay) with a
listener; a node adds connections, and a ring of its own, which for a thousand nodes is a thousand times the same
work in one process.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from swimring.gossip import Gossiper, open_gossiper
from swimring.identity import Address, NodeId
from swimring.instrument import Instrument, Instruments
from swimring.swim import Metadata, Profile, Summary
from swimring.testing import SimulatedNetwork, dice, open_simulated_network
from swimring.testing.gate import Gate, belonging_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from swimring.net import Datagrams

PORT = 7979
RESOLUTION = 0.001
"""Arrivals are a multiple of this (seconds), so that many share one turn of the scheduler."""

SEEDS = ("10.0.0.0", "10.0.0.1", "10.0.0.2")
LOOKS_EVERY = 0.1
"""Seconds between two looks at whether all views are equal: a convergence is measured to within that."""


def host_of(name: str) -> str:
    """The host of the member ``name``."""
    high, low = divmod(int(name.removeprefix("p")), 256)
    return f"10.0.{high}.{low}"


def collect_rarely() -> None:
    """A program of a large crowd has millions of live objects and next to no cycles: to go through all takes time."""
    gc.set_threshold(100_000, 20, 100)


class Watch:
    """What the members of a crowd said of each other."""

    def __init__(self) -> None:
        self.changes: Counter[str] = Counter()
        self.failed: list[tuple[str, BaseException]] = []
        self.probes = 0
        self.on_change: Callable[[str, str, str], None] | None = None
        """Called with who believes it, whom it is about, and the status."""


class Observer(Instrument):
    """The instrument of one member."""

    __slots__ = ("name", "watch")

    def __init__(self, name: str, watch: Watch) -> None:
        self.name = name
        self.watch = watch

    def member_changed(self, name: str, status: str) -> None:
        self.watch.changes[status] += 1
        if self.watch.on_change is not None:
            self.watch.on_change(self.name, name, status)

    def probe_finished(self, name: str, rtt: float | None) -> None:
        self.watch.probes += 1

    def duty_failed(self, duty: str, error: BaseException) -> None:
        self.watch.failed.append((duty, error))


@dataclass(eq=False, slots=True)
class Person:
    """One member of a crowd."""

    name: str
    gossiper: Gossiper
    scope: trio.CancelScope
    here: bool = True
    settled: trio.Event = field(default_factory=trio.Event)
    """Set when it has joined, or was ended before it could."""

    @property
    def host(self) -> str:
        return host_of(self.name)


@dataclass
class Crowd:
    """Members p0, p1, ... each on a host of its own, which has a numeric address: nothing is looked up."""

    network: SimulatedNetwork
    gate: Gate
    nursery: trio.Nursery
    profile: Profile
    watch: Watch = field(default_factory=Watch)
    people: dict[str, Person] = field(default_factory=dict)
    tap: Callable[[str, Datagrams], Datagrams] = lambda _name, datagrams: datagrams
    """Gets between a member and its socket."""
    welcome: Callable[[Person], None] = lambda _person: None
    """Called when the life of a member begins, before anything happens in it."""

    @property
    def present(self) -> list[Person]:
        return [person for person in self.people.values() if person.here]

    async def gather(self, count: int, *, within: float) -> None:
        """Let ``count`` members arrive at random times ``within`` so many seconds, and join by the first three."""
        rng = dice("arrivals", self.network.seed)
        arrivals = [0.0] * 3 + [rng.uniform(0, within) for _ in range(count - 3)]
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(self.arrive, f"p{number}", 1, arrivals[number])

    async def arrive(self, name: str, generation: int, after: float = 0.0) -> None:
        """Start the life ``generation`` of a member, and join."""
        await trio.sleep(after)
        with belonging_to(host_of(name)):
            person: Person = await self.nursery.start(self._live, name, generation)
        self.people[name] = person
        await person.settled.wait()

    async def _live(self, name: str, generation: int, *, task_status: trio.TaskStatus[Person]) -> None:
        host = host_of(name)
        network = self.network.at(host)
        binding = await network.bind(Address(host, PORT))
        with trio.CancelScope() as scope:
            async with (
                open_gossiper(
                    cluster="crowd",
                    me=NodeId(name, generation),
                    address=binding.address,
                    metadata=Metadata(services=("crowd",)),
                    datagrams=self.tap(name, binding.datagrams),
                    network=network,
                    host=self.network.host(host),
                    profile=self.profile,
                    instruments=Instruments([Observer(name, self.watch)]),
                    seeds=[Address(seed, PORT) for seed in SEEDS],
                ) as gossiper,
                trio.open_nursery() as nursery,
            ):
                person = Person(name, gossiper, scope)
                self.welcome(person)
                task_status.started(person)
                nursery.start_soon(self._join, person)
                while True:
                    stream, remote = await binding.listener.accept()
                    nursery.start_soon(gossiper.serve_stream, stream, remote, b"")
        binding.close()
        person.settled.set()

    async def _join(self, person: Person) -> None:
        await person.gossiper.join([Address(host, PORT) for host in SEEDS if host != person.host])
        person.settled.set()

    def crash(self, victims: Iterable[Person]) -> None:
        """Kill the processes: their machines refuse connections."""
        for victim in victims:
            self._end(victim)
            self.network.crash(victim.host)

    def lose(self, victims: Iterable[Person]) -> None:
        """Lose the machines: nothing answers."""
        for victim in victims:
            self._end(victim)
            self.network.freeze(victim.host)

    def _end(self, victim: Person) -> None:
        victim.here = False
        victim.scope.cancel()
        self.gate.go_on(victim.host)

    @contextlib.contextmanager
    def paused(self, people: Iterable[Person]) -> Iterator[None]:
        """Within the block these processes stand still, as after SIGSTOP."""
        stopped = list(people)
        for person in stopped:
            self.gate.stop(person.host)
        try:
            yield
        finally:
            for person in stopped:
                self.gate.go_on(person.host)

    def agree_now(self, group: Sequence[Person]) -> bool:
        """Whether all of ``group`` believe of each other what each believes of itself, and of nobody else."""
        truth = sum(Summary.of(person.gossiper.me).fingerprint for person in group) % 2**64
        return all(person.gossiper.checksum == truth for person in group)

    async def agree(self, group: Sequence[Person] | None = None) -> float:
        """Wait until all of ``group``, or all that are present, agree; the seconds that took."""
        began = trio.current_time()
        while not self.agree_now(self.present if group is None else group):  # noqa: ASYNC110 - the views of all are no event of anybody
            await trio.sleep(LOOKS_EVERY)
        return trio.current_time() - began

    async def quiet(self) -> None:
        """Wait until all agree and nobody has anything to tell."""
        while not self._all_told():  # noqa: ASYNC110 - as above
            await trio.sleep(1)

    def _all_told(self) -> bool:
        talking = any(person.gossiper.statistics().rumours for person in self.present)
        return not talking and self.agree_now(self.present)


@asynccontextmanager
async def open_crowd(*, profile: Profile | None = None) -> AsyncIterator[Crowd]:
    """A simulated network and nobody on it yet; all members end with the block."""
    async with open_simulated_network(resolution=RESOLUTION) as network:
        gate = Gate(network.fabric.post)
        with gate.installed():
            async with trio.open_nursery() as nursery:
                yield Crowd(network, gate, nursery, profile or Profile.lan())
                nursery.cancel_scope.cancel()
