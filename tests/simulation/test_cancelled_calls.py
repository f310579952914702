"""Calls of every kind, cancelled at any moment: nothing of them is left on either side."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from typing import TYPE_CHECKING

import trio

from swimring.errors import CallError
from swimring.service import Channel, Objects, Reply, Request, Service
from swimring.testing import SimCluster, dice, run_simulation

from .leftovers import check_nothing_left
from .settled import settled_cluster

if TYPE_CHECKING:
    import random

    from swimring.node import Node

CALLS = 2_000
CALLS_OF_A_SWEEP = 10_000

AT_ONCE = 100


class Kinds:
    """Handlers of all kinds, which never end by themselves, and callers who give up."""

    def __init__(self, rng: random.Random) -> None:
        self.service = service = Service("kinds")
        self.begun = self.ended = self.finished = 0
        self._rng = rng

        @service.on("nap")
        async def nap(request: Request) -> None:
            with self.counting():
                await trio.sleep(math.inf)

        @service.on("read")
        async def read(request: Request) -> int:
            with self.counting():
                return sum([len(chunk) async for chunk in request.streams["data"]])

        @service.on("tick")
        async def tick(request: Request) -> AsyncIterator[bytes]:
            with self.counting():
                while True:
                    yield bytes(200)
                    await trio.sleep(0.005)

        @service.on("talk")
        async def talk(channel: Channel[bytes, bytes]) -> None:
            with self.counting():
                async for item in channel:
                    await channel.send(item)

        @service.on("follow")
        async def follow(request: Request) -> Reply[int]:
            with self.counting():
                await trio.sleep(0.005)
                return Reply(1, streams={"ticks": Objects(self.numbers())})

        self.nap, self.read, self.tick, self.talk, self.follow = nap, read, tick, talk, follow

    def counting(self) -> _Counting:
        return _Counting(self)

    async def numbers(self) -> AsyncIterator[int]:
        while True:
            yield 1
            await trio.sleep(0.005)

    async def give_up(self, node: Node) -> None:
        """One call, cancelled after a moment."""
        with trio.move_on_after(self._rng.choice((0, 0.001, 0.01, 0.02)) * self._rng.random()):
            await self._rng.choice((self._nap, self._read, self._tick, self._talk, self._follow))(node, self._key())
        self.finished += 1

    def _key(self) -> str:
        return f"key {self._rng.randrange(1000)}"

    async def _nap(self, node: Node, key: str) -> None:
        await node.call(self.nap, key)

    async def _read(self, node: Node, key: str) -> None:
        async with node.open(self.read.with_streams(data=None), key) as call:
            while True:
                await call.streams["data"].send(bytes(200))
                await trio.sleep(0.005)

    async def _tick(self, node: Node, key: str) -> None:
        async with node.open(self.tick, key) as items:
            async for _item in items:
                if self._rng.random() < 0.1:
                    break

    async def _talk(self, node: Node, key: str) -> None:
        async with node.open(self.talk, key) as call:
            while True:
                await call.send(bytes(200))
                await anext(call)
                if self._rng.random() < 0.1:
                    return

    async def _follow(self, node: Node, key: str) -> None:
        async with node.open(self.follow, key) as call:
            reply = await call.result()
            async for _item in reply.streams["ticks"].objects():
                pass


class _Counting:
    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        self._kinds.begun += 1

    def __exit__(self, *_error: object) -> None:
        self._kinds.ended += 1


async def cancel_many(kinds: Kinds, cluster: SimCluster, rng: random.Random, *, calls: int) -> None:
    """That many calls from all nodes, some at once."""
    left = calls

    async def keep_asking() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            try:
                await kinds.give_up(rng.choice(cluster.running).node)
            except CallError:
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(keep_asking)


def test_thousands_of_cancelled_calls_of_all_kinds_leave_nothing_behind(in_a_sweep: bool) -> None:
    seed, calls = 1, CALLS_OF_A_SWEEP if in_a_sweep else CALLS

    async def main() -> None:
        rng = dice("cancelled calls", seed)
        kinds = Kinds(rng)
        async with settled_cluster(2, kinds.service) as (cluster, _):
            await cancel_many(kinds, cluster, rng, calls=calls)
            assert kinds.finished == calls
            assert kinds.begun > calls / 4
            await check_nothing_left(cluster, "kinds")
            assert kinds.begun == kinds.ended

    run_simulation(main, seed=seed)


def test_calls_cancelled_while_nodes_crash_and_leave_leave_nothing_behind(seed: int) -> None:
    async def main() -> None:
        rng = dice("cancelled calls", seed)
        kinds = Kinds(rng)
        async with settled_cluster(3, kinds.service) as (cluster, (_one, two, three)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: cancel_many(kinds, cluster, rng, calls=1_000))
                await trio.sleep(0.05)
                two.crash()
                await trio.sleep(0.2)
                await three.drain()
                await two.restart()
            await check_nothing_left(cluster, "kinds")

    run_simulation(main, seed=seed)
