"""HTTP/1.1 as it is used for services: uvicorn with its usual extras, aiohttp, JSON, connections kept alive.

A connection carries one request at a time, so a client that asks a thousand times at once has a thousand connections.
"""

# ruff: noqa: TID251 - a program that measures time
from __future__ import annotations

import asyncio
import gc
import json
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

import aiohttp
import uvicorn

from .figures import FIELDS, MIB, PATIENCE, Measures, asked_on_asyncio, greet, next_line, read_command, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

HEADERS = [(b"content-type", b"application/json")]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """An ASGI application without a framework: the fastest that uvicorn can serve."""
    if scope["type"] != "http":
        return
    body, size, more = b"", 0, True
    while more:
        part = await receive()
        size += len(part.get("body", b""))
        more = part.get("more_body", False)
        if scope["path"] == "/greet":
            body += part.get("body", b"")
    reply = greet(**json.loads(body)) if body else {"size": size}
    data = json.dumps(reply).encode()
    length = (b"content-length", str(len(data)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, length]})
    await send({"type": "http.response.body", "body": data})


async def serve() -> None:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it offers nothing to wait for
        await asyncio.sleep(0.01)
    gc.freeze()
    say(address=f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    await asyncio.to_thread(next_line)
    server.should_exit = server.force_exit = True
    await serving


class Client:
    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self.session = session
        self.address = address

    async def calls(self, *, concurrency: int, seconds: float) -> dict[str, float]:
        url = f"{self.address}/greet"

        async def call() -> None:
            async with self.session.post(url, json=FIELDS) as response:
                await response.json()

        return await asked_on_asyncio(call, concurrency=concurrency, seconds=seconds)

    async def bulk(self, *, chunk: int, total: int) -> dict[str, float]:
        blob, count = bytes(chunk), total // chunk

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(count):
                yield blob

        began = perf_counter()
        async with self.session.post(f"{self.address}/upload", data=chunks()) as response:
            assert (await response.json())["size"] == count * chunk
        return {"rate": count * chunk / MIB / (perf_counter() - began)}


async def measure(address: str) -> None:
    connector, patience = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:
        client = Client(session, address)
        measures: Measures = {"calls": client.calls, "bulk": client.bulk}
        gc.freeze()
        say(can=sorted(measures))
        while line := await asyncio.to_thread(next_line):
            what, how = read_command(line)
            say(**await measures[what](**how))


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else measure(sys.argv[2]))
