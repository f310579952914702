"""grpcio's asyncio API, with JSON as we use CBOR: no generated code, one channel, each call with its deadline."""

# ruff: noqa: TID251 - a program that measures time
from __future__ import annotations

import asyncio
import gc
import json
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from .figures import FIELDS, MIB, PATIENCE, Measures, asked_on_asyncio, greet, next_line, read_command, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


async def answer(request: dict[str, Any], context: object) -> dict[str, object]:
    return greet(**request)


async def upload(chunks: AsyncIterator[bytes], context: object) -> int:
    return sum([len(chunk) async for chunk in chunks])


async def items(request: dict[str, Any], context: object) -> AsyncIterator[object]:
    for number in range(request["count"]):
        yield {**FIELDS, "n": number}


async def serve() -> None:
    server = grpc.aio.server()
    handlers = {
        "greet": grpc.unary_unary_rpc_method_handler(answer, json.loads, dump),
        "upload": grpc.stream_unary_rpc_method_handler(upload, None, dump),
        "items": grpc.unary_stream_rpc_method_handler(items, json.loads, dump),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    gc.freeze()
    say(address=f"127.0.0.1:{port}")
    await asyncio.to_thread(next_line)
    await server.stop(None)


class Client:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.greet = channel.unary_unary("/bench/greet", dump, json.loads)
        self.upload = channel.stream_unary("/bench/upload", None, json.loads)
        self.items = channel.unary_stream("/bench/items", dump, json.loads)

    async def calls(self, *, concurrency: int, seconds: float) -> dict[str, float]:
        async def call() -> None:
            await self.greet(FIELDS, timeout=PATIENCE)

        return await asked_on_asyncio(call, concurrency=concurrency, seconds=seconds)

    async def bulk(self, *, chunk: int, total: int) -> dict[str, float]:
        blob, count = bytes(chunk), total // chunk
        began = perf_counter()
        call = self.upload()
        for _ in range(count):
            await call.write(blob)
        await call.done_writing()
        assert await call == count * chunk
        return {"rate": count * chunk / MIB / (perf_counter() - began)}

    async def objects(self, *, count: int) -> dict[str, float]:
        began = perf_counter()
        found = [item async for item in self.items({"count": count})]
        assert len(found) == count
        return {"rate": count / (perf_counter() - began)}


async def measure(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        client = Client(channel)
        measures: Measures = {"calls": client.calls, "bulk": client.bulk, "objects": client.objects}
        gc.freeze()
        say(can=sorted(measures))
        while line := await asyncio.to_thread(next_line):
            what, how = read_command(line)
            say(**await measures[what](**how))


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else measure(sys.argv[2]))
