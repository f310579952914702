"""Handlers of every kind, and two nodes on loopback sockets that run them, in a thread of their own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from swimring.node import open_node
from swimring.service import ByteStream, Channel, Objects, Reply, Request, Service
from swimring.tracing import current_trace
from tests.beside import entered_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

app = Service("contract")


@dataclass(frozen=True, slots=True)
class Update:
    number: int
    text: str = ""


class Ends:
    """How the handlers of each key have ended, in order."""

    def __init__(self) -> None:
        self._ends: defaultdict[object, list[str]] = defaultdict(list)
        self._news = trio.Event()

    @contextmanager
    def noting(self, request: Request) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.note(request.key, type(error).__name__)
            raise
        else:
            self.note(request.key, "done")

    def note(self, key: object, what: str) -> None:
        self._ends[key].append(what)
        self._news.set()
        self._news = trio.Event()

    async def wait(self, key: object, count: int) -> list[str]:
        while len(self._ends[key]) < count:
            await self._news.wait()
        return self._ends[key]


ends = Ends()
yielded: defaultdict[object, int] = defaultdict(int)


@app.error
class TooMuch(Exception):
    """Declared: raised at the caller as itself."""


@app.on("where", idempotent=True)
async def where(request: Request) -> str:
    return request.node.name


@app.on("echo", idempotent=True)
async def echo(request: Request, data: bytes) -> bytes:
    return data


@app.on("refuse")
async def refuse(request: Request, what: str) -> None:
    raise {"declared": TooMuch("much", 7), "built in": ValueError("no"), "other": ZeroDivisionError("zero")}[what]


@app.on("note")
async def note(request: Request, what: str) -> None:
    ends.note(request.key, what)


@app.on("ends", idempotent=True)
async def ended(request: Request, at_least: int = 1) -> list[str]:
    """How the handlers of this key have ended, when ``at_least`` have."""
    return await ends.wait(request.key, at_least)


@app.on("patience", idempotent=True)
async def patience(request: Request) -> float:
    return request.deadline - trio.current_time()


@app.on("wait")
async def wait(request: Request) -> None:
    with ends.noting(request):
        await trio.sleep(math.inf)


@app.on("trace", idempotent=True)
async def trace(request: Request) -> str:
    found = current_trace()
    return "" if found is None else found.trace_id


@app.on("count")
async def count(request: Request, up_to: int, size: int = 0) -> AsyncIterator[Update]:
    with ends.noting(request):
        for number in range(up_to):
            yielded[request.key] += 1
            yield Update(number, "x" * size)


@app.on("yielded", idempotent=True)
async def how_many(request: Request) -> int:
    return yielded[request.key]


@app.on("forever")
async def forever(request: Request) -> AsyncIterator[int]:
    with ends.noting(request):
        yield 1
        await trio.sleep(math.inf)


@app.on("deaf")
async def deaf(request: Request) -> AsyncIterator[int]:
    with ends.noting(request):
        yield 1
        with trio.CancelScope(shield=True), trio.move_on_after(2):
            await request.node.request({"ns": "contract", "cmd": "ends", "key": f"{request.key!s} may end"})


@app.on("breaking")
async def breaking(request: Request, after: int) -> AsyncIterator[int]:
    for number in range(after):
        yield number
    raise TooMuch("after", after)


@app.on("chat")
async def chat(channel: Channel[Update, str], greeting: str = "hello") -> int:
    lines = 0
    with ends.noting(channel.request):
        await channel.send(greeting)
        async for line in channel:
            lines += 1
            await channel.send(f"{line.number}: {line.text}")
    return lines


@app.on("mix")
async def mix(request: Request) -> list[int]:
    """Counts the bytes of one stream and answers the objects of another."""
    sizes = [0, 0]

    async def take_bytes() -> None:
        async for chunk in request.streams["file"]:
            sizes[0] += len(chunk)

    async with trio.open_nursery() as children:
        children.start_soon(take_bytes)
        events = request.streams["events"].objects(Update)
        async for event in events:
            sizes[1] += event.number
            await events.send(Update(-event.number))
        await events.send_eof()
    return sizes


@app.on("reverse")
async def reverse(request: Request) -> int:
    """Sends back what comes, chunk by chunk."""
    stream, size = request.streams["file"], 0
    async for chunk in stream:
        size += len(chunk)
        await stream.send(chunk)
    await stream.send_eof()
    return size


@app.on("curt")
async def curt(request: Request) -> str:
    """Says what it has to say, and does not listen."""
    async with request.streams["file"] as stream:
        await stream.send(b"y" * 100_000)
    return "enough"


@app.on("fetch")
async def fetch(request: Request, size: int) -> Reply[int]:
    async def updates() -> AsyncIterator[Update]:
        for number in range(3):
            yield Update(number)

    return Reply(size, streams={"file": b"x" * size, "events": Objects(updates(), Update)})


@app.on("sink")
async def sink(request: Request) -> Reply[str]:
    async def take(stream: ByteStream) -> None:
        with ends.noting(request):
            async for update in stream.objects(Update):
                ends.note(request.key, str(update.number))

    return Reply("go on", streams={"in": take})


@app.on("cut")
async def cut(request: Request) -> None:
    """Lose every connection of this node that somebody else has made, and those to whoever asks."""
    node: Any = request.node
    for connection in node._routing._peers.connections:
        if not connection.dialled or connection.peer_name == request.peer:
            connection.close("cut by the test")


@contextmanager
def running(cluster: str) -> Iterator[str]:
    """The address of one of two nodes that know each other, while the block runs."""

    @asynccontextmanager
    async def two_nodes() -> AsyncIterator[str]:
        a = open_node(app, cluster=cluster, name="a", listen="127.0.0.1:0", join=["127.0.0.1:1"], drain_within=0.5)
        async with a as first:
            join = [str(first.me.address)]
            b = open_node(app, cluster=cluster, name="b", listen="127.0.0.1:0", join=join, drain_within=0.5)
            async with b as second:
                await first.wait_ring("contract", nodes=2)
                await second.wait_ring("contract", nodes=2)
                yield join[0]

    with entered_beside(two_nodes) as address:
        yield address
