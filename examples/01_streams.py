"""A handler that yields, one with a channel, a reply with a stream: ``python examples/01_streams.py``."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from dataclasses import dataclass

import trio

from swimring import Channel, Objects, Reply, Request, Service, open_node

app = Service("town")


@dataclass(frozen=True)
class Tick:
    """What goes over the streams."""

    number: int
    who: str


@app.on("clock")
async def clock(request: Request, every: float) -> AsyncIterator[Tick]:
    """Yield for ever: the caller leaves its block, and the `finally` runs here."""
    number = 0
    try:
        while True:
            yield Tick(number, request.node.name)
            number += 1
            await trio.sleep(every)
    finally:
        print(f"   the clock on {request.node.name} has stopped after {number} ticks")


@app.on("translate")
async def translate(channel: Channel[str, str]) -> int:
    """Answer each word; return how many there were."""
    words = 0
    async for word in channel:
        await channel.send(word[::-1])
        words += 1
    return words


@app.on("diary")
async def diary(request: Request, days: int) -> Reply[int]:
    """Hand over a stream that outlives this handler."""
    entries = [Tick(day, request.node.name) for day in range(days)]
    return Reply(days, streams={"entries": Objects(entries, Tick)})


async def main(every: float = 0.2) -> None:
    async with (
        open_node(app, name="left", cluster="town") as left,
        open_node(app, name="right", cluster="town", join=[str(left.me.address)]) as right,
    ):
        await left.wait_ring(app, nodes=2)
        key = next(key for key in map(str, range(100)) if left.lookup(key).name == right.name)

        async with left.open(clock, key, every) as ticks:
            async for tick in ticks:
                print(f"tick {tick.number} from {tick.who}")
                if tick.number == 2:
                    break
        print(f"that call was {ticks.outcome}")

        async with left.open(translate, key) as call:
            for word in ("ring", "swim"):
                await call.send(word)
                print(f"{word} is {await anext(call)}")
            print(f"{await call.result()} words")

        async with left.open(diary, key, 3) as call:
            reply = await call.result()
            entries = [entry.number async for entry in reply.streams["entries"].objects(Tick)]
            print(f"{reply.value} days: {entries}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=float, default=0.2, help="seconds between two ticks")
    trio.run(main, parser.parse_args().every)
