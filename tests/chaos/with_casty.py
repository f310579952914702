"""casty in the `kill` run: a node with counters, or the one who asks them. It needs Python 3.12.

``python -m tests.chaos.with_casty node CLUSTER HOW ADDRESS SEED...``, and ``ask CLUSTER HOW SEED...``, which answers
the commands of `asking` that this run gives. casty decides what is not said here, by its defaults.
"""

# ruff: noqa: TID251 - latencies are compared with moments of another process
from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from casty import ActorSystem, Askable, Client, Cluster, Context, Unavailable, actor

from .records import MOST_UNDER_WAY, Book, Record, arrivals, record_of, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGER_THAN_ANY_PATIENCE = timedelta(minutes=2)
QUICK = {
    "heartbeat": timedelta(milliseconds=200),
    "suspect_after": timedelta(seconds=1),
    "dead_after": timedelta(seconds=1),
    "remove_after": timedelta(seconds=2),
}
"""What casty's own example of replication has, "about two seconds instead of the ten of the defaults"."""


@dataclass(frozen=True)
class Add(Askable[int]):  # type: ignore[misc] # casty is installed where this runs
    by: int


@dataclass(frozen=True)
class Read(Askable[int]):  # type: ignore[misc] # as above
    pass


# Three copies, of which two confirm: its defaults. "all" would refuse every write while one of the three is away.
@actor(initial=0, replicas=3, write="majority", ask_timeout=LONGER_THAN_ANY_PATIENCE)  # type: ignore[untyped-decorator]
async def counter(ctx: Context[int, Add | Read]) -> None:
    async for message in ctx.inbox:
        if isinstance(message, Add):
            await ctx.state.set(ctx.state.value + message.by)
        message.reply_to.tell(ctx.state.value)


@dataclass(frozen=True)
class Seen(Askable[tuple[str, ...]]):  # type: ignore[misc] # as above
    statuses: tuple[str, ...]


@actor(initial=0, pinned=True)  # type: ignore[untyped-decorator] # as above
async def view(ctx: Context[int, Seen]) -> None:
    """What one node believes of all: a client believes a member dead that the nodes still wait for."""
    async for message in ctx.inbox:
        members: Any = ctx.system.members
        message.reply_to.tell(tuple(one.node.address for one in members if one.status in message.statuses))


class Asking:
    """One load; what `asking.Asking` does."""

    def __init__(self, system: Any) -> None:
        self._system = system
        self._names: list[str] = []
        self._refs: dict[str, Any] = {}
        self._book = Book()
        self._records: list[Record] = []
        self._under_way = self._skipped = self._asked_again = 0
        self._making: asyncio.Task[None] | None = None
        self._stopping = False

    # ------------------------------------------------------------------------------------------------ commands

    async def settled(self, *, names: list[str]) -> float:
        """Wait until each of these nodes takes all of them to be alive."""
        began = time.monotonic()
        for name in names:
            while not set(names) <= await self._seen_by(name, "alive"):  # noqa: ASYNC110 - it offers nothing to wait for
                await asyncio.sleep(0.1)
        self._names = names
        return time.monotonic() - began

    async def dead(self, *, name: str) -> float:
        """Wait until no other node hopes for this one any more."""
        for other in self._names:
            while other != name and name in await self._seen_by(other, "alive", "suspect"):  # noqa: ASYNC110 - it offers nothing to wait for
                await asyncio.sleep(0.1)
        return time.monotonic()

    async def _seen_by(self, name: str, *statuses: str) -> set[str]:
        while True:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(5.0):
                    return set(await self._system.ref(view, "view", at=name).ask(Seen(statuses)))
            await asyncio.sleep(0.1)

    async def touch(self, *, keys: int, patience: float = 60.0) -> float:
        began, numbers = time.monotonic(), iter(range(keys))

        async def next_ones() -> None:
            for number in numbers:
                await self._add_one(f"k{number}", time.monotonic(), patience)

        await _by_fifty(next_ones)
        self._asked_again = 0
        return time.monotonic() - began

    async def begin(self, *, keys: int, rate: float, reads: float, patience: list[float], seed: int) -> bool:
        self._records.clear()
        self._making = asyncio.create_task(self._make(random.Random(seed), keys, rate, reads, patience))
        return True

    async def end(self) -> dict[str, Any]:
        assert self._making is not None
        self._stopping = True
        await self._making
        more = {"skipped": self._skipped, "wrong": self._book.wrong[:20], "reads_asked_again": self._asked_again}
        return {**summary(self._records), **more}

    async def verify(self, *, exact: bool, patience: float = 60.0, most: int = 10_000) -> dict[str, Any]:
        counted = self._book.counted(most)
        keys, lost = iter(counted), []

        async def next_ones() -> None:
            for key in keys:
                complaint: str | None = f"{key}: not to be read within {patience:.0f} s"
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        complaint = self._book.complaint(key, await self._read(key), exact=exact)
                if complaint is not None:
                    lost.append(complaint)

        await _by_fifty(next_ones)
        doubtful = sum(self._book.maybe[key] > 0 for key in counted)
        return {"keys": len(counted), "lost": lost[:20], "lost_keys": len(lost), "keys_in_doubt": doubtful}

    # ---------------------------------------------------------------------------------------------------- calls

    async def _make(self, rng: random.Random, keys: int, rate: float, reads: float, patience: list[float]) -> None:
        due = time.monotonic()
        async with asyncio.TaskGroup() as calls:
            for wait, key, idempotent in arrivals(rng, keys, rate, reads):
                due += wait
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if self._stopping:
                    return
                if self._under_way >= MOST_UNDER_WAY:
                    self._skipped += 1
                elif idempotent:
                    calls.create_task(self._read_one(key, due, patience[1]))
                else:
                    calls.create_task(self._add_one(key, due, patience[0]))

    async def _add_one(self, key: str, due: float, patience: float) -> None:
        self._book.began[key] += 1
        self._under_way += 1
        least, began, error = self._book.acknowledged[key] + 1, time.monotonic(), ""
        try:
            async with asyncio.timeout(patience):
                value = await self._ref(key).ask(Add(1))
            self._book.acknowledged[key] += 1
            self._book.check(key, value, least)
        except TimeoutError:
            error = "late"
        except Exception as failed:  # noqa: BLE001 - it promises of none of its errors that nothing was done
            error = f"{type(failed).__name__} maybe"
        if error:
            self._book.fail(key, error)
        self._under_way -= 1
        self._records.append(record_of(key, due, began, error, patience, idempotent=False))

    async def _read_one(self, key: str, due: float, patience: float) -> None:
        self._under_way += 1
        least, began, error = self._book.acknowledged[key], time.monotonic(), ""
        try:
            async with asyncio.timeout(patience):
                value = await self._read(key)
            self._book.check(key, value, least)
        except TimeoutError:
            error = "late"
        except Exception as failed:  # noqa: BLE001 - whatever it is, it is counted
            error = type(failed).__name__
        self._under_way -= 1
        self._records.append(record_of(key, due, began, error, patience, idempotent=True))

    async def _read(self, key: str) -> int:
        """Ask until the key answers, as casty's example of replication does: nothing else repeats a read."""
        while True:
            try:
                async with asyncio.timeout(1.0):
                    value: int = await self._ref(key).ask(Read())
                    return value
            except (Unavailable, TimeoutError):
                self._asked_again += 1
                await asyncio.sleep(0.2)

    def _ref(self, key: str) -> Any:
        if key not in self._refs:
            self._refs[key] = self._system.ref(counter, key)
        return self._refs[key]


async def _by_fifty(work: Callable[[], Any]) -> None:
    async with asyncio.TaskGroup() as hands:
        for _ in range(50):
            hands.create_task(work())


async def node(cluster: Cluster) -> None:
    async with ActorSystem(cluster=cluster):
        await asyncio.Event().wait()


async def ask(cluster: Cluster, how: Sequence[str]) -> None:
    """Answer one command after the other, as a client, which hosts no key, or as one more member, which does."""
    logging.disable()  # what is believed of a node that was killed is no news
    system: Any = ActorSystem(cluster=cluster) if "member" in how else Client(seeds=cluster.seeds, name=cluster.name)
    async with system, asyncio.TaskGroup() as commands:
        asking = Asking(system)
        while line := await asyncio.to_thread(sys.stdin.readline):
            commands.create_task(_answer(asking, json.loads(line)))


async def _answer(asking: Asking, command: dict[str, Any]) -> None:
    number, what = command.pop("number"), command.pop("do")
    try:
        answer = {"number": number, "value": await getattr(asking, what)(**command)}
    except Exception as error:  # noqa: BLE001 - told to the driver, which ends the run
        answer = {"number": number, "error": repr(error)}
    print(json.dumps(answer), flush=True)  # noqa: T201 - this is how it answers


def main(role: str, name: str, how: Sequence[str], addresses: Sequence[str]) -> None:
    timings = QUICK if "quick" in how else {}
    if role == "node":
        asyncio.run(node(Cluster(bind=addresses[0], seeds=tuple(addresses[1:]), name=name, **timings)))
    else:
        asyncio.run(ask(Cluster(bind="127.0.0.1:0", seeds=tuple(addresses), name=name, **timings), how))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3].split("+"), sys.argv[4:])
