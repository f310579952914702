"""Membership beside the theory, in virtual time: detection, dissemination, load, false positives.

Run it from the root of the repository: ``python -m tests.benchmarks.membership_simulated``. The figures follow from the
seed and are the same on every machine. All of it takes a quarter of an hour of one processor; ``--large`` adds clusters
of 300 and 1,000 members, and Lifeguard with 64 and 1,000 members in place of 24 and 16, which takes hours.
"""

# ruff: noqa: T201 - a program prints
from __future__ import annotations

import argparse
import functools
import itertools
import logging
import math
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Literal

import trio

from swimring.swim import Metadata, Profile, shortest_suspicion
from swimring.testing import PASS, Packet, Verdict, dice, run_simulation
from tests.simulation.crowd import RESOLUTION, Crowd, Person, collect_rarely, host_of, open_crowd
from tests.simulation.plain_swim import open_lan_crowd

if TYPE_CHECKING:
    from collections.abc import Sequence

LAN = Profile.lan()
LARGE = 1000


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Stragglers:
    """How long after the first one the last member knew of processes that were killed, in seconds.

    Attributes:
        members: how many there are.
        loss: share of the datagrams that is lost.
        deaths: how many there were, one after the other, each noticed at once by two members that lost a connection.
        late: of how many the last one knew more than a second after the first one.
        longest: the longest time between these two.
    """

    members: int
    loss: float
    deaths: int
    late: int
    longest: float


def stragglers(members: int, *, loss: float, deaths: int = 60, seed: int = 1) -> Stragglers:
    """Kill one process after the other, each back under a new generation when all know."""
    return run_simulation(functools.partial(_stragglers, members, loss, deaths), seed=seed)


async def _stragglers(members: int, loss: float, deaths: int) -> Stragglers:
    rng, spreads = dice("stragglers", members), []
    async with open_crowd() as crowd:
        await crowd.gather(members, within=1)
        await crowd.quiet()
        for number in range(deaths):
            await trio.sleep(rng.uniform(1, 2))
            victim, *neighbours = rng.sample(crowd.present, 3)
            news = _News(crowd, victim.name, members - 1)
            with crowd.network.loss(loss):
                crowd.crash([victim])
                for neighbour in neighbours:
                    neighbour.gossiper.suspect_connection(victim.name)
                await news.all_know.wait()
            spreads.append(trio.current_time() - news.first["dead"])
            await crowd.arrive(victim.name, number + 2)
            await crowd.quiet()
    late = sum(spread > 1 for spread in spreads)
    return Stragglers(members=members, loss=loss, deaths=deaths, late=late, longest=max(spreads))


# --------------------------------------------------------------------------------------------------- dissemination


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far news got, in gossip intervals, which are rounds of the spreader.

    Whoever hears news while it has none to tell passes it on at once, so that in a quiet cluster news runs ahead of the
    rounds, at the pace of the network. In a busy one all spreaders are between two rounds, as in the theory. Pings and
    acks carry rumours as well.

    Attributes:
        members: how many there are.
        busy: whether ten other updates a second were under way.
        log: the natural logarithm of the number of members.
        half: mean intervals until half of them knew.
        all: until the last one did.
        worst: the same of the worst update.
    """

    members: int
    busy: bool
    log: float
    half: float
    all: float
    worst: float


def dissemination_rounds(members: int, *, busy: bool, updates: int = 20, seed: int = 1) -> Spread:
    """One random member after the other changes its metadata."""
    return run_simulation(functools.partial(_dissemination_rounds, members, busy, updates), seed=seed)


async def _dissemination_rounds(members: int, busy: bool, updates: int) -> Spread:
    rng, halves, last = dice("updates", members), [], []
    async with open_crowd() as crowd, trio.open_nursery() as nursery:
        await crowd.gather(members, within=1)
        await crowd.quiet()
        chatting = rng.sample(crowd.present, max(2, members // 10)) if busy else []
        if chatting:
            nursery.start_soon(_chat, chatting)
            await trio.sleep(2)
        for number in range(updates):
            await trio.sleep(rng.uniform(0, 2))
            source = rng.choice([person for person in crowd.present if person not in chatting])
            began = trio.current_time()
            await source.gossiper.update_metadata(Metadata(services=("crowd",), weight=number + 2))
            times = await _arrivals(crowd.present, source)
            rounds = [(time - began) / LAN.gossip_interval for time in times]
            halves.append(rounds[len(rounds) // 2])
            last.append(rounds[-1])
            if not busy:
                await crowd.quiet()
        nursery.cancel_scope.cancel()
    return Spread(
        members=members,
        busy=busy,
        log=math.log(members),
        half=mean(halves),
        all=mean(last),
        worst=max(last),
    )


async def _chat(people: Sequence[Person]) -> None:
    """Give everybody something to tell, all the time."""
    for number, person in enumerate(itertools.cycle(people)):
        await person.gossiper.update_metadata(Metadata(services=("crowd",), weight=number % 100 + 2))
        await trio.sleep(0.1)


async def _arrivals(people: Sequence[Person], source: Person) -> list[float]:
    """When each of the others had the present record of ``source``, to within a millisecond, as packets arrive."""
    waiting, times = [person for person in people if person is not source], []
    while waiting:
        await trio.sleep(RESOLUTION)
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
        lifeguard: whether it was on; `tests/simulation/plain_swim.py` says what that is.
        everywhere: events at any member.
        at_the_well: those at members that were well themselves.
        suspicions: how often somebody who was well became a suspect at somebody.
        agreed_after: seconds from the end until all views were equal.
    """

    members: int
    slow: int
    lifeguard: bool
    everywhere: int
    at_the_well: int
    suspicions: int
    agreed_after: float


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
    async with open_lan_crowd(lifeguard=lifeguard) as crowd:
        await crowd.gather(members, within=1)
        await crowd.quiet()
        rng = dice("slow", members, slow, crowd.network.seed)
        ill = {person.name for person in rng.sample(crowd.present, slow)}
        tally = _Tally(crowd, ill)

        async def suffer(name: str) -> None:
            await trio.sleep(rng.uniform(0, blocked))
            while True:
                with crowd.network.isolate(host_of(name)):
                    await trio.sleep(blocked)
                await trio.sleep(working)

        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for name in sorted(ill):
                    nursery.start_soon(suffer, name)
        return await tally.result(lifeguard)


class _Tally:
    """Counts what is believed of members that are well."""

    def __init__(self, crowd: Crowd, ill: set[str]) -> None:
        self._crowd = crowd
        self._ill = ill
        self._everywhere = self._at_the_well = self._suspicions = 0
        crowd.watch.on_change = self._heard

    def _heard(self, who: str, about: str, status: str) -> None:
        if about not in self._ill:
            self._everywhere += status == "dead"
            self._at_the_well += status == "dead" and who not in self._ill
            self._suspicions += status == "suspect"

    async def result(self, lifeguard: bool) -> FalsePositives:
        agreed_after = await self._crowd.agree()
        return FalsePositives(
            members=len(self._crowd.people),
            slow=len(self._ill),
            lifeguard=lifeguard,
            everywhere=self._everywhere,
            at_the_well=self._at_the_well,
            suspicions=self._suspicions,
            agreed_after=agreed_after,
        )


Pause = Literal["stopped", "blocked"]
"""A process that stands still with its timers, as after SIGSTOP; one whose messages wait while its timers go on."""

_CUT = Verdict(cut=True)


@dataclass(frozen=True, slots=True)
class _Blocked:
    """Each of ``hosts`` is cut off, from the others of them as well; all in one, as each packet asks each fault."""

    hosts: frozenset[str]

    def judge(self, packet: Packet) -> Verdict:
        return _CUT if packet.source in self.hosts or packet.target in self.hosts else PASS


def random_pauses(
    members: int,
    *,
    kind: Pause,
    lifeguard: bool,
    bursts: int = 20,
    share: float = 0.05,
    within: float | None = None,
    seed: int = 1,
) -> FalsePositives:
    """G14: 5 % loss, and ``bursts`` times a random ``share`` of the members, of one half, pauses for 5 to 15 s.

    They begin at random times ``within`` so many seconds and overlap, or come one after the other.
    """
    scenario = functools.partial(_random_pauses, members, kind, lifeguard, bursts, share, within)
    return run_simulation(scenario, seed=seed)


async def _random_pauses(
    members: int, kind: Pause, lifeguard: bool, bursts: int, share: float, within: float | None
) -> FalsePositives:
    async with open_lan_crowd(lifeguard=lifeguard) as crowd:
        await crowd.gather(members, within=5)
        await crowd.agree()
        rng = dice("pauses", members, crowd.network.seed)
        half = rng.sample(crowd.present, members // 2)
        pausing: set[str] = set()
        tally = _Tally(crowd, {person.name for person in half})

        async def burst(after: float) -> None:
            await trio.sleep(after)
            well = [person for person in half if person.name not in pausing]
            victims = rng.sample(well, max(1, round(share * members)))
            names = {victim.name for victim in victims}
            pausing.update(names)
            cut_off = crowd.network.inject(_Blocked(frozenset(victim.host for victim in victims)))
            with crowd.paused(victims) if kind == "stopped" else cut_off:
                await trio.sleep(rng.uniform(5, 15))
            pausing.difference_update(names)

        with crowd.network.loss(0.05):
            if within is None:
                for _ in range(bursts):
                    await burst(0)
                    await trio.sleep(rng.uniform(0, 5))
            else:
                async with trio.open_nursery() as nursery:
                    for _ in range(bursts):
                        nursery.start_soon(burst, rng.uniform(0, within))
            return await tally.result(lifeguard)


# ----------------------------------------------------------------------------------------------------------- tables


def _detection_table(sizes: Sequence[int]) -> None:
    _head("Periods until a lost machine was noticed (lan, no refusals)", "members", *_DETECTION_COLUMNS)
    for each in (first_detection(size) for size in (3, *sizes) if size <= 100):
        figures = (each.suspected, each.theory, each.dead, each.dead_theory, each.known)
        _row(each.members, *(f"{figure:.2f}" for figure in figures))


def _stragglers_table(_sizes: Sequence[int]) -> None:
    _head("Killed processes (30 members): when the last one knew", "loss", "seed", "deaths", "a second late", "worst")
    for loss in (0.0, 0.05, 0.2):
        for seed in (1, 2):
            found = stragglers(30, loss=loss, seed=seed)
            _row(f"{loss:.0%}", seed, found.deaths, found.late, f"{found.longest:.2f} s")


def _dissemination_table(sizes: Sequence[int]) -> None:
    _head("Gossip intervals until an update was known", "members", "others talk", *_DISSEMINATION_COLUMNS)
    for size in sizes:
        for busy in (False, True):
            found = dissemination_rounds(size, busy=busy)
            figures = (found.log, found.half, found.all, found.worst)
            _row(size, "all the time" if busy else "no", *(f"{figure:.2f}" for figure in figures))


def _broadcast_table(sizes: Sequence[int]) -> None:
    _head("Seconds until all had heard a broadcast", "members", "mean", "longest")
    for hearing in map(broadcast_hearing, sizes):
        _row(hearing.members, f"{hearing.mean:.2f}", f"{hearing.longest:.2f}")


def _load_table(sizes: Sequence[int]) -> None:
    _head("Load of a quiet member per period", "members", "datagrams", "bytes in them", "bytes in streams")
    for load in map(idle_load, sizes):
        _row(load.members, f"{load.datagrams:.2f}", f"{load.datagram_bytes:.0f}", f"{load.stream_bytes:.1f}")


def _slow_table(sizes: Sequence[int]) -> None:
    members = 64 if LARGE in sizes else 24
    _head(f"Members that were well and were declared dead ({members} members, 120 s)", "slow", *_FALSE_COLUMNS)
    for slow in (1, members // 8, members // 4):
        for lifeguard in (False, True):
            _false_row(str(slow), false_positives(members, slow, lifeguard=lifeguard))


def _pauses_table(sizes: Sequence[int]) -> None:
    large = LARGE in sizes
    members, within = (LARGE, 60.0) if large else (16, None)
    how = "that begin within a minute and overlap" if large else "one after the other"
    _head(f"The same with 5 % loss and 20 random pauses of 5 % of {members} members, {how}", "pause", *_FALSE_COLUMNS)
    kinds: tuple[Pause, ...] = ("blocked",) if large else ("stopped", "blocked")
    for kind in kinds:
        for lifeguard in (True, False):
            for seed in (1,) if large else (1, 2, 3):
                found = random_pauses(members, kind=kind, lifeguard=lifeguard, within=within, seed=seed)
                _false_row(f"{kind}, seed {seed}", found)


_DETECTION_COLUMNS = ("suspected", "theory", "declared dead", "theory", "known to all")
_DISSEMINATION_COLUMNS = ("ln n", "to half", "to the last", "worst of 20")
_FALSE_COLUMNS = ("Lifeguard", "events", "at members that were well", "suspicions", "views equal after")
TABLES = {
    "detection": _detection_table,
    "stragglers": _stragglers_table,
    "dissemination": _dissemination_table,
    "broadcasts": _broadcast_table,
    "load": _load_table,
    "slow": _slow_table,
    "pauses": _pauses_table,
}


def _head(title: str, *columns: str) -> None:
    print(f"\n{title}\n")
    _row(*columns)
    print("|---:" * len(columns) + "|", flush=True)


def _row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _false_row(what: str, found: FalsePositives) -> None:
    lifeguard, agreed = "on" if found.lifeguard else "off", f"{found.agreed_after:.1f} s"
    _row(what, lifeguard, found.everywhere, found.at_the_well, found.suspicions, agreed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], help="which of them; by default all")
    parser.add_argument("--large", action="store_true", help="clusters of 300 and 1,000 members, too")
    arguments = parser.parse_args()
    collect_rarely()
    logging.getLogger("swimring").setLevel(logging.ERROR)  # slow members make many warnings, which are right
    sizes = (10, 30, 100, 300, LARGE) if arguments.large else (10, 30, 100)
    for name in arguments.tables or TABLES:
        TABLES[name](sizes)


if __name__ == "__main__":
    main()
