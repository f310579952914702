"""Membership beside the theory, in virtual time: detection, dissemination, load, false positives.

Run it from the root of the repository: ``python -m tests.benchmarks.membership_simulated``. The figures follow from the
seed and are the same on every machine; ``--large`` adds clusters of 300 and 1,000 members, which takes long.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import math
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

import trio

from swimring.swim import Metadata, Profile, shortest_suspicion
from swimring.testing import dice, run_simulation
from tests.simulation.crowd import Crowd, Person, host_of, open_crowd

if TYPE_CHECKING:
    from collections.abc import Sequence

LAN = Profile.lan()
WITHOUT_LIFEGUARD = dataclasses.replace(LAN, health_limit=0, suspicion_beta=1)
"""Local health at 0 for good, and every suspicion at its shortest; the buddy system stays, it costs nothing."""


# ------------------------------------------------------------------------------------------------------- detection


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How long machines that were lost went unnoticed, in probe periods; the refusal rule has nothing to see there.

    Attributes:
        members: how many there are.
        losses: how many machines were lost, one after the other.
        suspected: mean time until somebody suspected it.
        theory: 1 + (n - 1) / n: the first of n - 1 rounds in random order, and the round itself.
        dead: mean time until somebody declared it dead.
        dead_theory: the same and the shortest suspicion.
        known: mean time until everybody knew.
    """

    members: int
    losses: int
    suspected: float
    theory: float
    dead: float
    dead_theory: float
    known: float


def first_detection(members: int, *, losses: int = 40, seed: int = 1) -> Detection:
    """Lose one machine after the other, each back under a new generation when all know."""
    return run_simulation(functools.partial(_first_detection, members, losses), seed=seed)


async def _first_detection(members: int, losses: int) -> Detection:
    rng, period = dice("losses", members), LAN.probe_interval
    suspected, dead, known = [], [], []
    async with open_crowd() as crowd:
        await crowd.gather(members, within=1)
        await crowd.quiet()
        for number in range(losses):
            await trio.sleep(rng.uniform(1, 3))
            victim = rng.choice(crowd.present)
            lost = trio.current_time()
            news = _News(crowd, victim.name, members - 1)
            crowd.lose([victim])
            await news.all_know.wait()
            suspected.append((news.first["suspect"] - lost) / period)
            dead.append((news.first["dead"] - lost) / period)
            known.append((trio.current_time() - lost) / period)
            await crowd.arrive(victim.name, number + 2)
            await crowd.quiet()
    theory = 1 + (members - 1) / members
    return Detection(
        members=members,
        losses=losses,
        suspected=mean(suspected),
        theory=theory,
        dead=mean(dead),
        dead_theory=theory + shortest_suspicion(LAN, members) / period,
        known=mean(known),
    )


class _News:
    """When the first one came to believe something of a member, and when all of them believe that it is dead."""

    def __init__(self, crowd: Crowd, about: str, hearers: int) -> None:
        self.first: dict[str, float] = {}
        self.all_know = trio.Event()
        self._about = about
        self._left = hearers
        crowd.watch.on_change = self._heard

    def _heard(self, _who: str, about: str, status: str) -> None:
        if about == self._about:
            self.first.setdefault(status, trio.current_time())
            self._left -= status == "dead"
            if not self._left:
                self.all_know.set()


# --------------------------------------------------------------------------------------------------- dissemination


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far news got, in rounds of gossip.

    Attributes:
        members: how many there are.
        log: the natural logarithm of that.
        half: mean rounds until half of them knew.
        most: until 99 % did.
        all: until the last one did; the worst of all updates.
    """

    members: int
    log: float
    half: float
    most: float
    all: float


def dissemination_rounds(members: int, *, updates: int = 20, seed: int = 1) -> Spread:
    """One random member after the other changes its metadata."""
    return run_simulation(functools.partial(_dissemination_rounds, members, updates), seed=seed)


async def _dissemination_rounds(members: int, updates: int) -> Spread:
    rng, halves, mosts, last = dice("updates", members), [], [], []
    async with open_crowd() as crowd:
        await crowd.gather(members, within=1)
        await crowd.quiet()
        for number in range(updates):
            await trio.sleep(rng.uniform(0, 2))
            source = rng.choice(crowd.present)
            began = trio.current_time()
            await source.gossiper.update_metadata(Metadata(services=("crowd",), weight=number + 2))
            times = await _arrivals(crowd.present, source)
            rounds = [(time - began) / LAN.gossip_interval for time in times]
            halves.append(rounds[len(rounds) // 2])
            mosts.append(rounds[math.ceil(0.99 * len(rounds)) - 1])
            last.append(rounds[-1])
            await crowd.quiet()
    return Spread(members=members, log=math.log(members), half=mean(halves), most=mean(mosts), all=max(last))


async def _arrivals(people: Sequence[Person], source: Person) -> list[float]:
    """When each of the others had the present record of ``source``, to within 10 ms."""
    waiting, times = [person for person in people if person is not source], []
    while waiting:
        await trio.sleep(0.01)
        record = source.gossiper.me
        still = [person for person in waiting if person.gossiper.member(source.name) != record]
        times += [trio.current_time()] * (len(waiting) - len(still))
        waiting = still
    return times


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """How long it took until the last member had heard a broadcast, in seconds.

    Attributes:
        members: how many there are.
        said: how many broadcasts, of random members, one after the other.
        mean: of the last one to hear each.
        longest: the same, the worst.
    """

    members: int
    said: int
    mean: float
    longest: float


def broadcast_hearing(members: int, *, said: int = 20, seed: int = 1) -> Hearing:
    """One random member after the other says something, and nothing is lost."""
    return run_simulation(functools.partial(_broadcast_hearing, members, said), seed=seed)


async def _broadcast_hearing(members: int, said: int) -> Hearing:
    rng, last = dice("broadcasts", members), []
    async with open_crowd() as crowd:
        await crowd.gather(members, within=1)
        await crowd.quiet()
        for number in range(said):
            await trio.sleep(rng.uniform(0, 2))
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for person in crowd.present:
                    await nursery.start(_hear_one, person)
                await rng.choice(crowd.present).gossiper.broadcast("figure", number)
            last.append(trio.current_time() - began)
    return Hearing(members=members, said=said, mean=mean(last), longest=max(last))


async def _hear_one(person: Person, *, task_status: trio.TaskStatus[None]) -> None:
    async with person.gossiper.broadcasts() as broadcasts:
        task_status.started()
        await anext(broadcasts)


# ------------------------------------------------------------------------------------------------------------ load


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a quiet member sends, per probe period.

    Attributes:
        members: how many there are.
        datagrams: pings and acks.
        datagram_bytes: in these.
        stream_bytes: in exchanges of states.
    """

    members: int
    datagrams: float
    datagram_bytes: float
    stream_bytes: float


def idle_load(members: int, *, seconds: float = 100, seed: int = 1) -> Load:
    """Count what goes over the network while nothing happens."""
    return run_simulation(functools.partial(_idle_load, members, seconds), seed=seed)


async def _idle_load(members: int, seconds: float) -> Load:
    async with open_crowd() as crowd:
        await crowd.gather(members, within=1)
        await crowd.quiet()
        before = [crowd.network.statistics(person.host) for person in crowd.people.values()]
        await trio.sleep(seconds)
        after = [crowd.network.statistics(person.host) for person in crowd.people.values()]
    pairs, share = list(zip(before, after, strict=True)), seconds / LAN.probe_interval * members
    return Load(
        members=members,
        datagrams=sum(b.datagrams_sent - a.datagrams_sent for a, b in pairs) / share,
        datagram_bytes=sum(b.datagram_bytes_sent - a.datagram_bytes_sent for a, b in pairs) / share,
        stream_bytes=sum(b.stream_bytes_sent - a.stream_bytes_sent for a, b in pairs) / share,
    )


# ------------------------------------------------------------------------------------------------- false positives


@dataclass(frozen=True, slots=True, kw_only=True)
class FalsePositives:
    """How often members that were well were declared dead, as the events of all members (Lifeguard, section V).

    Attributes:
        members: how many there are.
        slow: how many of them were not well.
        lifeguard: whether local health and dynamic suspicions were on.
        everywhere: events at any member.
        at_the_well: those at members that were well themselves.
        suspicions: how often somebody who was well became a suspect at somebody.
    """

    members: int
    slow: int
    lifeguard: bool
    everywhere: int
    at_the_well: int
    suspicions: int


def false_positives(
    members: int,
    slow: int,
    *,
    lifeguard: bool,
    blocked: float = 10.0,
    working: float = 1.0,
    seconds: float = 120.0,
    seed: int = 1,
) -> FalsePositives:
    """Let ``slow`` members hear and say nothing for ``blocked`` seconds, work for ``working``, and so on.

    Their timers go on meanwhile, as in the experiments of the paper: such a member is cut off and does not know it.
    """
    scenario = functools.partial(_false_positives, members, slow, lifeguard, blocked, working, seconds)
    return run_simulation(scenario, seed=seed)


async def _false_positives(
    members: int,
    slow: int,
    lifeguard: bool,
    blocked: float,
    working: float,
    seconds: float,
) -> FalsePositives:
    counts = dict.fromkeys(("everywhere", "at_the_well", "suspicions"), 0)
    async with open_crowd(profile=LAN if lifeguard else WITHOUT_LIFEGUARD) as crowd:
        await crowd.gather(members, within=1)
        await crowd.quiet()
        rng = dice("slow", members, slow, crowd.network.seed)
        ill = {person.name for person in rng.sample(crowd.present, slow)}

        def count(who: str, about: str, status: str) -> None:
            if about not in ill:
                counts["everywhere"] += status == "dead"
                counts["at_the_well"] += status == "dead" and who not in ill
                counts["suspicions"] += status == "suspect"

        async def suffer(name: str) -> None:
            await trio.sleep(rng.uniform(0, blocked))
            while True:
                with crowd.network.isolate(host_of(name)):
                    await trio.sleep(blocked)
                await trio.sleep(working)

        crowd.watch.on_change = count
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for name in sorted(ill):
                    nursery.start_soon(suffer, name)
    return FalsePositives(members=members, slow=slow, lifeguard=lifeguard, **counts)


# ----------------------------------------------------------------------------------------------------------- tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--large", action="store_true", help="clusters of 300 and 1,000 members, too")
    large = parser.parse_args().large
    logging.getLogger("swimring").setLevel(logging.ERROR)  # slow members make many warnings, which are right
    sizes = (10, 30, 100, 300, 1000) if large else (10, 30, 100)
    print("Periods until a lost machine was noticed (lan, no refusals)\n")
    print("| members | suspected | theory | declared dead | theory | known to all |")
    print("|---:" * 6 + "|")
    for each in (first_detection(size) for size in (3, 10, 30, 100)):
        print(
            f"| {each.members} | {each.suspected:.2f} | {each.theory:.2f} | {each.dead:.2f} | {each.dead_theory:.2f} "
            f"| {each.known:.2f} |",
            flush=True,
        )
    print("\nRounds of gossip until an update was known\n")
    print("| members | ln n | to half | to 99 % | to the last, worst |")
    print("|---:" * 5 + "|")
    for spread in map(dissemination_rounds, sizes):
        print(
            f"| {spread.members} | {spread.log:.1f} | {spread.half:.1f} | {spread.most:.1f} | {spread.all:.1f} |",
            flush=True,
        )
    print("\nSeconds until all had heard a broadcast\n")
    print("| members | mean | longest |")
    print("|---:" * 3 + "|")
    for hearing in map(broadcast_hearing, sizes):
        print(f"| {hearing.members} | {hearing.mean:.2f} | {hearing.longest:.2f} |", flush=True)
    print("\nLoad of a quiet member per period\n")
    print("| members | datagrams | bytes in them | bytes in streams |")
    print("|---:" * 4 + "|")
    for load in map(idle_load, sizes):
        print(
            f"| {load.members} | {load.datagrams:.2f} | {load.datagram_bytes:.0f} | {load.stream_bytes:.1f} |",
            flush=True,
        )
    print("\nMembers that were well and were declared dead (64 members, 120 s)\n")
    print("| slow | Lifeguard | events | at members that were well | suspicions |")
    print("|---:|---|---:|---:|---:|")
    for slow in (1, 4, 8, 16):
        for lifeguard in (False, True):
            found = false_positives(64, slow, lifeguard=lifeguard)
            print(
                f"| {slow} | {'on' if lifeguard else 'off'} | {found.everywhere} | {found.at_the_well} "
                f"| {found.suspicions} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
