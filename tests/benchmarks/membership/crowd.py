"""Many members in one process on real sockets: what a hundred of them do where a hundred processes are too many.

Each is a gossiper with its own port, as a node has one, and no more of a node than that.
"""

from __future__ import annotations

import dataclasses
import math
import os
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.gossip import Gossiper, open_gossiper
from swimring.identity import Address, NodeId
from swimring.instrument import Instrument, Instruments
from swimring.net import SocketNetwork, SystemHost
from swimring.swim import MemberUpdated, Metadata, Profile

from .machine import usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from swimring.net import Binding

FIRST_PORT: Final = 10_000
SETTLE: Final = 1.0
PATIENCE: Final = 90.0
IDLE_SECONDS: Final = 20.0

Result = dict[str, Any]


class Follower(Instrument):
    """What one member believes, as it comes to believe it."""

    def __init__(self, crowd: Crowd, name: str) -> None:
        self.crowd = crowd
        self.name = name
        self.alive: set[str] = set()
        self.health = 0

    def member_changed(self, name: str, status: str) -> None:
        (self.alive.add if status in ("alive", "suspect") else self.alive.discard)(name)
        self.crowd.note(status, name)

    def probe_finished(self, name: str, rtt: float | None) -> None:
        self.health = max(self.health, self.crowd.gossipers[self.name].statistics().health)


class Crowd:
    """All members."""

    def __init__(self, size: int, profile: Profile, nursery: trio.Nursery) -> None:
        self.names = [f"m{number}" for number in range(size)]
        self.profile = profile
        self.gossipers: dict[str, Gossiper] = {}
        self.followers: dict[str, Follower] = {}
        self.sightings: list[tuple[float, str, str]] = []
        self._lives: dict[str, trio.CancelScope] = {}
        self._nursery = nursery
        self._network = SocketNetwork()
        self._host = SystemHost()
        self._news = trio.Event()

    def note(self, word: str, subject: str) -> None:
        self.sightings.append((trio.current_time(), word, subject))
        self._news.set()
        self._news = trio.Event()

    async def open(self, name: str) -> None:
        """Bind and run; joins nobody."""
        await self._nursery.start(self._live, name)

    async def _live(self, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        address = Address("127.0.0.1", FIRST_PORT + int(name[1:]))
        binding = await self._network.bind(address)
        follower = self.followers[name] = Follower(self, name)
        try:
            with trio.CancelScope() as life:
                self._lives[name] = life
                async with open_gossiper(
                    cluster="bench",
                    me=NodeId(name, self._host.wall_ms()),
                    address=address,
                    metadata=Metadata(),
                    datagrams=binding.datagrams,
                    network=self._network,
                    host=self._host,
                    profile=self.profile,
                    instruments=Instruments([follower]),
                ) as gossiper:
                    self.gossipers[name] = gossiper
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._listen, gossiper)
                        nursery.start_soon(_accept, binding, gossiper)
                        task_status.started()
        finally:
            binding.close()
            self.gossipers.pop(name, None)
            self.followers.pop(name, None)

    async def _listen(self, gossiper: Gossiper) -> None:
        async with gossiper.events() as events:
            async for event in events:
                if isinstance(event, MemberUpdated):
                    self.note("updated", event.member.name)

    async def kill(self, name: str) -> None:
        """End a member as the kernel ends a process: its sockets are closed, and nothing is said."""
        self._lives[name].cancel()
        while name in self.gossipers:
            await trio.lowlevel.checkpoint()

    def updates_since(self, name: str, begin: float) -> list[float]:
        """When others heard of new metadata of a member, counted from ``begin``."""
        return [at - begin for at, word, who in self.sightings if (word, who) == ("updated", name) and at >= begin]

    async def wait(self, happened: Callable[[], bool]) -> float:
        """Wait until it has happened; when that was, or infinity."""
        with trio.move_on_after(PATIENCE):
            while not happened():
                await self._news.wait()
            return trio.current_time()
        return math.inf

    async def join_all(self) -> float:
        """All but the first join it at one moment; how long it takes until all know all."""
        for name in self.names:
            await self.open(name)
        await trio.sleep(SETTLE)
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            for name in self.names[1:]:
                nursery.start_soon(self.gossipers[name].join, [Address("127.0.0.1", FIRST_PORT)])
            full = await self.wait(
                lambda: all(len(one.alive) == len(self.names) - 1 for one in self.followers.values())
            )
        return full - begin


async def _accept(binding: Binding, gossiper: Gossiper) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            stream, remote = await binding.listener.accept()
            nursery.start_soon(gossiper.serve_stream, stream, remote, b"")


@asynccontextmanager
async def open_crowd(size: int) -> AsyncIterator[Crowd]:
    """So many members of the profile lan, without the rule about refused connections; ended with the block."""
    profile = dataclasses.replace(Profile.lan(), refusals_to_confirm=None)
    async with trio.open_nursery() as nursery:
        yield Crowd(size, profile, nursery)
        nursery.cancel_scope.cancel()


async def joins(size: int, count: int) -> Result:
    """Mass joins, each of a new cluster."""
    times = []
    for _ in range(count):
        async with open_crowd(size) as crowd:
            times.append(_finite(await crowd.join_all()))
    return {"full": times}


async def idle(crowd: Crowd, _count: int, _rng: random.Random) -> Result:
    """Nobody does anything."""
    await trio.sleep(3 * SETTLE)
    before = usage(os.getpid()), _sent(crowd)
    begin = trio.current_time()
    await trio.sleep(IDLE_SECONDS)
    took = (trio.current_time() - begin) * len(crowd.names)
    after = usage(os.getpid()), _sent(crowd)
    return {
        "cpu_percent": (after[0].seconds - before[0].seconds) / took * 100,
        "datagrams": (after[1] - before[1]) / took,
        "mebibytes": after[0].mebibytes / len(crowd.names),
        "false": sum(word == "dead" for at, word, _ in crowd.sightings if at >= begin),
    }


async def updates(crowd: Crowd, count: int, rng: random.Random) -> Result:
    """New metadata of one member, until the last one has heard of it."""
    last, halfway = [], []
    for number in range(count):
        await trio.sleep(SETTLE + rng.uniform(0, 1))
        name = rng.choice(crowd.names)
        begin = trio.current_time()
        await crowd.gossipers[name].update_metadata(Metadata(tags={"number": str(number)}))
        await crowd.wait(lambda: len(crowd.updates_since(name, begin)) >= len(crowd.names) - 1)  # noqa: B023
        heard = crowd.updates_since(name, begin)
        last.append(heard[-1] if len(heard) >= len(crowd.names) - 1 else None)
        halfway.append(heard[len(heard) // 2])
    return {"last": last, "half": halfway}


async def kills(crowd: Crowd, count: int, rng: random.Random) -> Result:
    """One member after the other ends without a word, and comes back."""
    result: Result = {"suspect": [], "first": [], "all": [], "false": 0, "health": []}
    for _ in range(count):
        await trio.sleep(SETTLE + rng.uniform(0, 1))
        victim = rng.choice(crowd.names[1:])
        for follower in crowd.followers.values():
            follower.health = 0
        begin = trio.current_time()
        await crowd.kill(victim)
        last = await crowd.wait(lambda: not any(victim in one.alive for one in crowd.followers.values()))  # noqa: B023
        said = [(at - begin, word, who) for at, word, who in crowd.sightings if at >= begin]
        result["all"].append(_finite(last - begin))
        for word, at in (("suspect", "suspect"), ("dead", "first")):
            result[at].append(min((when for when, what, who in said if (what, who) == (word, victim)), default=None))
        result["false"] += sum(word == "dead" and who != victim for _, word, who in said)
        result["health"].append(max(one.health for one in crowd.followers.values()))
        await crowd.open(victim)
        await crowd.gossipers[victim].join([Address("127.0.0.1", FIRST_PORT)])
        await crowd.wait(lambda: all(victim in one.alive for one in crowd.followers.values() if one.name != victim))  # noqa: B023
    return result


STEPS: Final[dict[str, Callable[[Crowd, int, random.Random], Awaitable[Result]]]] = {
    "idle": idle,
    "updates": updates,
    "kills": kills,
}


async def measure(size: int, steps: list[str], count: int) -> dict[str, Result]:
    """Start so many members and take the steps one after the other."""
    if steps == ["joins"]:
        return {"joins": await joins(size, count)}
    async with open_crowd(size) as crowd:
        if await crowd.join_all() == math.inf:
            raise RuntimeError(f"{size} members did not find each other")
        return {step: await STEPS[step](crowd, count, random.Random(step)) for step in steps}


def _sent(crowd: Crowd) -> int:
    return sum(one.statistics().datagrams_sent for one in crowd.gossipers.values())


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
