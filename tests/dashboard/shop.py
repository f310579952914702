"""A service to look at: quick calls, slow ones, failing ones, and one that stays for a key."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, cast

import trio

from swimring import Request, Service

if TYPE_CHECKING:
    from swimring import Node

app = Service("shop")
dice = random.Random(1)


@app.on("price", idempotent=True)
async def price(request: Request) -> float:
    """Quick, with a tail."""
    await trio.sleep(dice.lognormvariate(-6.5, 0.8))
    return 9.99


@app.on("add")
async def add(request: Request, item: str = "tea") -> str:
    """Slower."""
    await trio.sleep(dice.lognormvariate(-4.5, 0.5))
    return item


@app.on("pay")
async def pay(request: Request) -> None:
    """It fails now and then."""
    await trio.sleep(0.03)
    if dice.random() < 0.2:
        raise ValueError("no money")


@app.on("read")
async def read(request: Request) -> int:
    """Does not read what is sent until it is told to stop."""
    async with request.streams["book"]:
        await trio.sleep_forever()
    return 0


@app.on("watch")
async def watch(request: Request) -> None:
    """Stays until its caller gives up, with a task below, and tracks its key."""

    async def tick() -> None:
        await trio.sleep_forever()

    node, key = cast("Node", request.node), request.key
    assert key is not None
    async with node.track(key, service=app), trio.open_nursery() as nursery:
        nursery.start_soon(tick, name="ticking")
        await trio.sleep_forever()
