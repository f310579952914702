"""The one who asks, in a process of its own: a member that takes no keys, makes calls at a rate, and adds them up.

``python -m tests.chaos.asking CLUSTER NAME LISTEN JOIN...``: each line of stdin is a command as JSON, answered by a
line of JSON on stdout. It ends when stdin does.
"""

# ruff: noqa: TID251 - latencies are compared with moments of another process
from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import trio

from swimring import open_node
from swimring.errors import CallError, HandlerFailed
from swimring.swim import FULL_SHARE, Status

from . import bank, counters
from .records import MOST_UNDER_WAY, Book, Record, arrivals, record_of, summary

if TYPE_CHECKING:
    from swimring import Node


class Asking:
    """One load, over and over."""

    def __init__(self, node: Node, service: str) -> None:
        self._node = node
        self._service = service
        self._add: Any = counters.add if service == counters.app.name else bank.deposit
        self._read: Any = counters.read if service == counters.app.name else bank.balance
        self.book = Book()
        self.records: list[Record] = []
        self._making: trio.CancelScope | None = None
        self._ended = trio.Event()
        self._skipped = 0

    # ------------------------------------------------------------------------------------------------ commands

    async def settled(self, nursery: trio.Nursery, *, names: list[str]) -> float:
        """Wait until exactly these members take keys, all they should; the seconds it took."""
        began = time.monotonic()
        async with self._node.member_events() as events:
            while not self._agrees(names):
                with trio.move_on_after(0.5):  # a ring follows the members a moment later
                    await events.__anext__()
        return time.monotonic() - began

    def _agrees(self, names: list[str]) -> bool:
        alive = {
            member.name
            for member in self._node.members
            if member.status is Status.ALIVE
            and self._service in member.metadata.services
            and member.metadata.standing.share == FULL_SHARE
        }
        try:
            return alive == set(names) and len(self._node.ring(self._service)) == len(names)
        except CallError:
            return False

    async def dead(self, nursery: trio.Nursery, *, name: str) -> float:
        """Wait until a member is not believed to be alive any more; the moment."""
        async with self._node.member_events() as events:
            while any(m.name == name and m.status in (Status.ALIVE, Status.SUSPECT) for m in self._node.members):
                await events.__anext__()
        return time.monotonic()

    async def touch(self, nursery: trio.Nursery, *, keys: int, first: int = 0, patience: float = 60.0) -> float:
        """Count each key once; the seconds it took."""
        began, numbers = time.monotonic(), iter(range(first, first + keys))

        async def next_ones() -> None:
            for number in numbers:
                await self._add_one(f"k{number}", time.monotonic(), patience)

        async with trio.open_nursery() as hands:
            for _ in range(50):
                hands.start_soon(next_ones)
        return time.monotonic() - began

    async def begin(
        self, nursery: trio.Nursery, *, keys: int, rate: float, reads: float, patience: list[float], seed: int
    ) -> bool:
        """Make calls from now on: ``reads`` of them idempotent; ``patience`` of those that count, and of those."""
        self.records.clear()
        self._ended = trio.Event()
        nursery.start_soon(self._make, random.Random(seed), keys, rate, reads, patience)
        return True

    async def end(self, nursery: trio.Nursery) -> dict[str, Any]:
        """Make no more, wait for the last, and add up."""
        assert self._making is not None
        self._making.cancel()
        await self._ended.wait()
        return {**summary(self.records), "skipped": self._skipped, "wrong": self.book.wrong[:20]}

    async def verify(
        self, nursery: trio.Nursery, *, exact: bool, patience: float = 60.0, most: int = 10_000
    ) -> dict[str, Any]:
        """Read every key that was counted, and others up to ``most``; what does not fit what was acknowledged."""
        counted = self.book.counted(most)
        keys, lost = iter(counted), []

        async def next_ones() -> None:
            for key in keys:
                with trio.fail_after(patience):
                    value = await self._node.call(self._read, key)
                if (complaint := self.book.complaint(key, value, exact=exact)) is not None:
                    lost.append(complaint)

        async with trio.open_nursery() as hands:
            for _ in range(50):
                hands.start_soon(next_ones)
        doubtful = sum(self.book.maybe[key] > 0 for key in counted)
        return {"keys": len(counted), "lost": lost[:20], "keys_in_doubt": doubtful}

    async def about(self, nursery: trio.Nursery, *, names: list[str]) -> dict[str, Any]:
        """What each of these nodes says about itself."""
        return {name: await self._ask_one(name, counters.about) for name in names}

    async def fences(self, nursery: trio.Nursery, *, names: list[str]) -> dict[str, dict[str, int]]:
        """Which keys are open on each of these nodes, under which fence."""
        return {name: await self._ask_one(name, counters.fences) for name in names}

    async def fill(self, nursery: trio.Nursery, *, names: list[str], keys: int, chunk: int = 2_000) -> int:
        """Fill the memory of these nodes with counters that were counted once; how many copies they keep."""
        kept = 0
        for first in range(0, keys, chunk):
            for name in names:
                kept += await self._ask_one(name, counters.fill, first, min(chunk, keys - first))
        for number in range(keys):
            self.book.began[f"k{number}"] += 1
            self.book.acknowledged[f"k{number}"] += 1
        return kept

    async def inventory(self, nursery: trio.Nursery, *, names: list[str], keys: int, chunk: int = 2_000) -> int:
        """How many counters are where they belong."""
        found = 0
        for first in range(0, keys, chunk):
            for name in names:
                found += await self._ask_one(name, counters.inventory, first, min(chunk, keys - first))
        return found

    async def owners(self, nursery: trio.Nursery, *, keys: int) -> dict[str, int]:
        """How many of the keys each node owns."""
        return Counter(self._node.lookup(f"k{number}", service=self._service).name for number in range(keys))

    async def values(self, nursery: trio.Nursery, *, keys: int) -> dict[str, int]:
        """What each key says."""
        return {f"k{number}": await self._node.call(self._read, f"k{number}") for number in range(keys)}

    async def tally(self, nursery: trio.Nursery) -> dict[str, int]:
        """What calls failed with, all in all."""
        return Counter(record.error for record in self.records if record.error)

    async def members(self, nursery: trio.Nursery) -> dict[str, str]:
        """Who is taken for what."""
        return {member.name: member.status.name for member in self._node.members}

    async def _ask_one(self, name: str, endpoint: Any, *arguments: Any) -> Any:
        """Ask one node what it may be asked again, until it answers: the driver bounds how long."""
        while True:
            try:
                return await self._node.peer(name).call(endpoint, None, *arguments)
            except HandlerFailed:
                raise
            except CallError:
                await trio.sleep(0.5)

    # ---------------------------------------------------------------------------------------------------- calls

    async def _make(self, rng: random.Random, keys: int, rate: float, reads: float, patience: list[float]) -> None:
        due = time.monotonic()
        async with trio.open_nursery() as calls:
            with trio.CancelScope() as self._making:
                for wait, key, idempotent in arrivals(rng, keys, rate, reads):
                    due += wait
                    await trio.sleep(max(0.0, due - time.monotonic()))
                    if len(calls.child_tasks) >= MOST_UNDER_WAY:
                        self._skipped += 1
                    elif idempotent:
                        calls.start_soon(self._read_one, key, due, patience[1])
                    else:
                        calls.start_soon(self._add_one, key, due, patience[0])
        self._ended.set()

    async def _add_one(self, key: str, due: float, patience: float) -> None:
        self.book.began[key] += 1
        least = self.book.acknowledged[key] + 1
        began = time.monotonic()
        error = "late"
        try:
            with trio.move_on_after(patience):
                value = await self._node.call(self._add, key, 1)
                error = ""
                self.book.acknowledged[key] += 1
                self.book.check(key, value, least)
        except CallError as failed:
            error = f"{type(failed).__name__}{' maybe' if failed.maybe_executed else ' refused'}"
            if isinstance(failed, HandlerFailed):
                error = f"{failed.type_name}: {failed.message[:80]} maybe"
        except bank.Replaced:
            error = "Replaced maybe"
        if error:
            self.book.fail(key, error)
        self.records.append(record_of(key, due, began, error, patience, idempotent=False))

    async def _read_one(self, key: str, due: float, patience: float) -> None:
        least = self.book.acknowledged[key]
        began = time.monotonic()
        error = "late"
        try:
            with trio.move_on_after(patience):
                value = await self._node.call(self._read, key)
                error = ""
                self.book.check(key, value, least)
        except CallError as failed:
            error = type(failed).__name__
            if isinstance(failed, HandlerFailed):
                error = f"{failed.type_name}: {failed.message[:200]}"
        except bank.Replaced:
            error = "Replaced"
        self.records.append(record_of(key, due, began, error, patience, idempotent=True))


async def main(cluster: str, name: str, listen: str, service: str, join: list[str]) -> None:
    """Answer one command after the other."""
    async with open_node(
        cluster=cluster, name=name, listen=listen, join=join, profile="local", weight=0, insecure=True
    ) as node:
        asking = Asking(node, service)
        async with trio.open_nursery() as nursery:
            async with trio.lowlevel.FdStream(os.dup(0)) as stdin:
                rest = b""
                async for chunk in stdin:
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        nursery.start_soon(_answer, asking, nursery, json.loads(line))
            nursery.cancel_scope.cancel()


async def _answer(asking: Asking, nursery: trio.Nursery, command: dict[str, Any]) -> None:
    number, what = command.pop("number"), command.pop("do")
    try:
        answer = {"number": number, "value": await getattr(asking, what)(nursery, **command)}
    except Exception as error:  # noqa: BLE001 - told to the driver, which ends the run
        answer = {"number": number, "error": repr(error)}
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
