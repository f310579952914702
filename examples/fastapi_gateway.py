"""HTTP in front of a cluster: ``uvicorn examples.fastapi_gateway:gateway``, after ``pip install "swimring[examples]"``.

The connection to the cluster lives as long as the program (`lifespan`). A stream lives as long as somebody reads it:
when the browser goes away the block of the call is left, and the handler on the owner is cancelled. TICKER_NODES holds
the addresses of some nodes; without it the loopback ports are scanned.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import AsyncIterator  # noqa: TC003 - FastAPI evaluates annotations
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from examples.ticker import Price, price, prices
from swimring.client import Mesh, connect
from swimring.errors import CallError
from swimring.service import ItemsCall  # noqa: TC001 - FastAPI evaluates annotations


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with connect(*os.environ.get("TICKER_NODES", "").split()) as mesh:
        yield {"mesh": mesh}


gateway = FastAPI(lifespan=lifespan)


def mesh_of(request: Request) -> Mesh:
    mesh: Mesh = request.state.mesh
    return mesh


async def followed(
    symbol: str, mesh: Annotated[Mesh, Depends(mesh_of)], every: float = 1.0
) -> AsyncIterator[ItemsCall[Price]]:
    # FastAPI leaves this block when the response is over, also because the reader has gone.
    async with mesh.open(prices, symbol, every=every) as items:
        yield items


@gateway.get("/prices/{symbol}")
async def price_now(symbol: str, mesh: Annotated[Mesh, Depends(mesh_of)]) -> Price:
    try:
        with anyio.fail_after(2):  # the deadline of the handler, too
            return await mesh.call(price, symbol)
    except (CallError, TimeoutError) as error:
        raise HTTPException(503, f"{type(error).__name__}: {error}") from error


@gateway.get("/prices/{symbol}/stream")
async def price_stream(items: Annotated[ItemsCall[Price], Depends(followed)]) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        async for item in items:
            yield json.dumps(dataclasses.asdict(item)) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")
