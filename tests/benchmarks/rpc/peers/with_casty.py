"""casty: a node in each process, asks routed by key to actors of the other one. It needs Python 3.12.

An actor handles one message at a time, so each of those who ask at the same time has an actor of its own.
"""

# ruff: noqa: TID251 - a program that measures time
from __future__ import annotations

import asyncio
import gc
import sys
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from casty import ActorSystem, Askable, Cluster, Context, actor

from .figures import FIELDS, PATIENCE, greet, keep_asking, next_line, rate_of, read_command, say


@dataclass(frozen=True)
class Greeting:
    n: int
    text: str


@dataclass(frozen=True)
class Greet(Askable[Greeting]):  # type: ignore[misc] # casty is installed where this runs
    n: int
    name: str
    excited: bool


@actor(initial=0, replicas=1)  # type: ignore[untyped-decorator] # as above
async def greeter(ctx: Context[int, Greet]) -> None:
    async for message in ctx.inbox:
        said: Any = greet(message.n, message.name, message.excited)
        message.reply_to.tell(Greeting(**said))


async def serve() -> None:
    async with ActorSystem(cluster=Cluster(bind="127.0.0.1:0", name="bench")) as system:
        gc.freeze()
        say(address=system.node.address)
        await asyncio.to_thread(next_line)


class Client:
    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.keys: list[str] = []

    async def find_keys(self, count: int) -> None:
        """Keys that the other node owns."""
        number = 0
        while len(self.keys) < count:
            number += 1
            placement = await self.system.placement(greeter, f"k{number}")
            if placement.owner != self.system.node:
                self.keys.append(f"k{number}")

    async def calls(self, *, concurrency: int, seconds: float) -> dict[str, float]:
        taken: list[float] = []
        fields: Any = FIELDS

        async def keep(key: str, until: float) -> None:
            ref = self.system.ref(greeter, key)

            async def call() -> None:
                async with asyncio.timeout(PATIENCE):
                    await ref.ask(Greet(**fields))

            await keep_asking(call, until, taken)

        began = perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for key in self.keys[:concurrency]:
                tasks.create_task(keep(key, began + seconds))
        return rate_of(taken, perf_counter() - began)


async def measure(address: str) -> None:
    async with ActorSystem(cluster=Cluster(bind="127.0.0.1:0", seeds=(address,), name="bench")) as system:
        while len(system.members) < 2:  # noqa: ASYNC110 - it offers nothing to wait for
            await asyncio.sleep(0.05)
        client = Client(system)
        await client.find_keys(1000)
        gc.freeze()
        say(can=["calls"])
        while line := await asyncio.to_thread(next_line):
            _what, how = read_command(line)
            say(**await client.calls(**how))


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else measure(sys.argv[2]))
