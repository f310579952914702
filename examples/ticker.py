"""Prices by symbol, and a handler that yields them for ever: ``swimring run examples/ticker.py:app``, some times.

`fastapi_gateway.py` asks these nodes. It imports this module, too, and needs no Trio for that: only handlers run on it.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from dataclasses import dataclass

from swimring import Request, Service

app = Service("ticker")


@dataclass(frozen=True)
class Price:
    """What a symbol costs."""

    symbol: str
    cents: int
    node: str


def price_of(request: Request, step: int) -> Price:
    return Price(str(request.key), 10_000 + 37 * step % 1_000, request.node.name)


@app.on("price", idempotent=True)
async def price(request: Request) -> Price:
    return price_of(request, 0)


@app.on("prices")
async def prices(request: Request, every: float = 1.0) -> AsyncIterator[Price]:
    """Yield a price every so many seconds; it ends when nobody reads any more."""
    import trio  # noqa: PLC0415 - who only calls this handler need not have it

    for step in itertools.count():
        yield price_of(request, step)
        await trio.sleep(every)
