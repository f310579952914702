"""What is done to a cluster of processes, and what is read off it: one function for each row or two of the table.

Each returns what can be written as JSON, times in seconds; infinity is written as None.
"""

from __future__ import annotations

import math
import random
import signal
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

import trio

from . import serf
from .agents import Fleet, Kind, open_fleet
from .machine import cut, traffic, usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SETTLE: Final = 1.0
IDLE_SECONDS: Final = 30.0
PAUSES: Final = (*(1.0, 3.0) * 5, 6.0, 12.0)
"""Whether somebody's probe falls into a short stop is a matter of chance: five of each."""

CUT_SECONDS: Final = 120.0

Result = dict[str, Any]


async def joins(kind: Kind, count: int) -> Result:
    """Mass joins, each of a new cluster."""
    times = []
    for _ in range(count):
        async with open_fleet(kind) as fleet:
            times.append(_finite(await fleet.start_all()))
    return {"full": times}


async def idle(fleet: Fleet, _count: int, _rng: random.Random) -> Result:
    """Nobody does anything."""
    await trio.sleep(2 * SETTLE)  # the last rumours of the join
    pids = [agent.pid for agent in fleet.agents.values()]
    begin = trio.current_time()
    sent, used = traffic(), {pid: usage(pid) for pid in pids}
    await trio.sleep(IDLE_SECONDS)
    took = trio.current_time() - begin
    sent_now, used_now = traffic(), {pid: usage(pid) for pid in pids}
    return {
        "datagrams": (sent_now.datagrams - sent.datagrams) / took / len(pids),
        "bytes": (sent_now.bytes - sent.bytes) / took / len(pids),
        "cpu_percent": mean(used_now[pid].seconds - used[pid].seconds for pid in pids) / took * 100,
        "mebibytes": mean(one.mebibytes for one in used_now.values()),
        "most_mebibytes": max(one.mebibytes for one in used_now.values()),
        "false": len(fleet.since(begin, "dead")),
    }


async def kills(fleet: Fleet, count: int, rng: random.Random) -> Result:
    """kill -9, one after the other; each comes back under its name and address."""
    result: Result = {"suspect": [], "first": [], "all": [], "rejoin": [], "start_up": [], "false": 0}
    for _ in range(count):
        victim, others = _choose(fleet, rng)
        await trio.sleep(SETTLE + rng.uniform(0, 1))
        begin = trio.current_time()
        fleet.signal(victim, signal.SIGKILL)
        last = await fleet.wait_word("dead", victim, others)
        result["all"].append(_finite(last - begin))
        for word, at in (("unreached", "suspect"), ("dead", "first")):
            seen = [one.at - begin for one in fleet.since(begin, word) if one.subject == victim]
            result[at].append(min(seen, default=None))
        result["false"] += sum(one.subject != victim for one in fleet.since(begin, "dead"))
        await fleet.wait_ended(victim)
        await _return(fleet, victim, others, rng, result)
    return result


async def leaves(fleet: Fleet, count: int, rng: random.Random) -> Result:
    """SIGINT, one after the other; each comes back."""
    result: Result = {"first": [], "all": [], "rejoin": [], "start_up": [], "failed": 0}
    for _ in range(count):
        victim, others = _choose(fleet, rng)
        await trio.sleep(SETTLE + rng.uniform(0, 1))
        begin = trio.current_time()
        fleet.signal(victim, signal.SIGINT)
        last = await fleet.wait_word("left", victim, others)
        result["all"].append(_finite(last - begin))
        result["first"].append(min((one.at - begin for one in fleet.since(begin, "left")), default=None))
        result["failed"] += len(fleet.since(begin, "dead"))
        await fleet.wait_ended(victim)
        await _return(fleet, victim, others, rng, result)
    return result


async def pauses(fleet: Fleet, _count: int, rng: random.Random) -> Result:
    """SIGSTOP and, later, SIGCONT."""
    result: Result = {}
    for seconds in PAUSES:
        victim, others = _choose(fleet, rng)
        await trio.sleep(3 * SETTLE)
        begin = trio.current_time()
        fleet.signal(victim, signal.SIGSTOP)
        await trio.sleep(seconds)
        resumed = trio.current_time()
        fleet.signal(victim, signal.SIGCONT)
        await trio.sleep(10)  # what the resumed one comes to believe of others
        back = math.inf
        if all(fleet.views.get((one, victim)) == "alive" for one in others):
            back = max((one.at for one in fleet.since(resumed, "alive") if one.subject == victim), default=resumed)
        found = {
            # Whose own probe failed: Serf's agents do not say when they hear of a suspicion.
            "suspected_by": _observers(fleet, begin, "unreached", victim),
            "declared_by": _observers(fleet, begin, "dead", victim),
            "others": len(others),
            "back": _finite(back - resumed),
            "false": sum(one.subject != victim for one in fleet.since(begin, "dead")),
        }
        result.setdefault(f"{seconds:g}", []).append(found)
    return result


async def partition(fleet: Fleet, _count: int, _rng: random.Random) -> Result:
    """The network is cut in halves for two minutes; then it heals."""
    halves = [[n for n in fleet.names if fleet.is_on_other_side(n) is side] for side in (False, True)]
    await trio.sleep(3 * SETTLE)
    begin = trio.current_time()
    with cut("127.0.0.1", "127.0.0.2"):
        await trio.sleep(CUT_SECONDS)
        split = all(
            fleet.views.get((one, other)) == "dead"
            for mine, theirs in (halves, halves[::-1])
            for one in mine
            for other in theirs
        )
    healed = trio.current_time()
    false = sum(
        fleet.is_on_other_side(one.observer) is fleet.is_on_other_side(one.subject)
        for one in fleet.since(begin, "dead")
    )
    return {"split": split, "false": false, "healed": _finite(await fleet.wait_full(within=180) - healed)}


async def bystanders(fleet: Fleet, _count: int, rng: random.Random) -> Result:
    """The health scores of Serf agents after one of them is killed; ours are read in one process, see `crowd`."""
    victim, others = _choose(fleet, rng)
    await trio.sleep(2 * SETTLE)
    fleet.signal(victim, signal.SIGKILL)
    worst = dict.fromkeys(others, 0)
    for _ in range(10):
        await trio.sleep(SETTLE)
        for name in others:
            score = await trio.to_thread.run_sync(serf.health, fleet.rpc_port(name))
            worst[name] = max(worst[name], score)
    return {"worst": max(worst.values()), "ill": sum(score > 0 for score in worst.values()), "others": len(others)}


STEPS: Final[dict[str, Callable[[Fleet, int, random.Random], Awaitable[Result]]]] = {
    "idle": idle,
    "kills": kills,
    "leaves": leaves,
    "pauses": pauses,
    "partition": partition,
    "bystanders": bystanders,
}


async def measure(kind: Kind, steps: list[str], count: int) -> dict[str, Result]:
    """Start a cluster and take the steps one after the other."""
    rng = random.Random(f"{kind}")
    async with open_fleet(kind) as fleet:
        if await fleet.start_all() == math.inf:
            await fleet.wait_full()
        return {step: await STEPS[step](fleet, count, rng) for step in steps}


async def _return(fleet: Fleet, victim: str, others: list[str], rng: random.Random, result: Result) -> None:
    agent = await fleet.start(victim, join=[rng.choice(others)])
    known = await fleet.wait_word("alive", victim, others)
    await fleet.wait_full()
    result["rejoin"].append(_finite(known - agent.started))
    ready = [one.at for one in fleet.since(agent.started, "ready", "up") if one.observer == victim]
    result["start_up"].append(min(ready) - agent.started)


def _observers(fleet: Fleet, begin: float, word: str, subject: str) -> int:
    return len({one.observer for one in fleet.since(begin, word) if one.subject == subject})


def _choose(fleet: Fleet, rng: random.Random) -> tuple[str, list[str]]:
    victim = rng.choice(fleet.names)
    return victim, [name for name in fleet.names if name != victim]


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
