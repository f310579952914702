"""A service whose handlers yield, talk over channels and take streams of objects, for the nodes of one test."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from dataclasses import dataclass
from typing import Any, Never

import trio

from swimring.service import ByteStream, Channel, Objects, Reply, Request, Service


@dataclass(frozen=True, slots=True)
class Update:
    number: int
    text: str = ""


class Studio:
    """Handlers and what they have seen."""

    def __init__(self) -> None:  # noqa: C901, PLR0915 - one handler beside the other
        self.service = service = Service("studio")
        self.seen: list[Any] = []
        self.ended = trio.Event()

        @service.on("count")
        async def count(request: Request, up_to: int, size: int = 0) -> AsyncIterator[Update]:
            with self.noting():
                for number in range(up_to):
                    self.seen.append(number)
                    yield Update(number, "x" * size)

        @service.on("tick")
        async def tick(request: Request) -> AsyncIterator[float]:
            with self.noting():
                while True:
                    yield trio.current_time()
                    await trio.sleep(1)

        @service.on("break")
        async def breaking(request: Request, after: int) -> AsyncIterator[int]:
            for number in range(after):
                yield number
            raise ZeroDivisionError(f"after {after}")

        @service.on("wrong")
        async def wrong(request: Request) -> AsyncIterator[int]:
            yield 1
            yield "two"  # type: ignore[misc]

        @service.on("patient")
        async def patient(request: Request) -> AsyncIterator[str]:
            with trio.move_on_after(5) as scope:
                while True:
                    yield "x" * 100_000
            yield "tired" if scope.cancelled_caught else "never"

        @service.on("nursery")
        async def nursery(request: Request) -> AsyncIterator[int]:
            async def fail() -> None:
                await trio.sleep(1)
                raise ZeroDivisionError("a child")

            async with trio.open_nursery() as children:
                children.start_soon(fail)
                for number in range(10**9):
                    yield number
                    await trio.sleep(0.4)

        @service.on("chat")
        async def chat(channel: Channel[Update, str], greeting: str = "hello") -> int:
            lines = 0
            with self.noting():
                await channel.send(f"{greeting} from {channel.request.node.name}")
                async for line in channel:
                    lines += 1
                    await channel.send(f"{line.number}: {line.text}")
            return lines

        @service.on("sum")
        async def total(channel: Channel[int, Never]) -> int:
            return sum([number async for number in channel])

        @service.on("first")
        async def first(channel: Channel[int, Never]) -> int:
            return await anext(channel)

        @service.on("half")
        async def half(channel: Channel[int, int]) -> int:
            await channel.send(1)
            await channel.send_eof()
            return sum([number async for number in channel])

        @service.on("greet")
        async def greet(request: Request, name: str) -> str:
            return f"hello {name}"

        @service.on("mix")
        async def mix(request: Request) -> list[int]:
            sizes = [0, 0]
            async with trio.open_nursery() as children:

                async def take_bytes() -> None:
                    async for chunk in request.streams["file"]:
                        sizes[0] += len(chunk)

                async def take_objects() -> None:
                    events = request.streams["events"].objects(Update)
                    async for event in events:
                        sizes[1] += event.number
                        await events.send(Update(-event.number))

                children.start_soon(take_bytes)
                children.start_soon(take_objects)
            return sizes

        @service.on("hang")
        async def hang(channel: Channel[int, int]) -> None:
            with self.noting():
                await trio.sleep(math.inf)

        @service.on("deaf")
        async def deaf(request: Request) -> AsyncIterator[int]:
            with self.noting():
                yield 1
                with trio.CancelScope(shield=True):
                    await trio.sleep(10)

        self.count, self.tick, self.breaking, self.wrong = count, tick, breaking, wrong
        self.patient, self.nursery, self.chat, self.total = patient, nursery, chat, total
        self.first, self.half, self.greet, self.mix, self.hang, self.deaf = first, half, greet, mix, hang, deaf

    def noting(self) -> _Noting:
        return _Noting(self)


class _Noting:
    """Writes down how the block ended."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        self._studio.seen.append("done" if kind is None else kind.__name__)
        self._studio.ended.set()


async def updates(count: int) -> AsyncIterator[Update]:
    for number in range(count):
        yield Update(number)


def objects(count: int) -> Objects[Update]:
    return Objects(updates(count), Update)


class Library:
    """Handlers that hand streams over with their answers."""

    def __init__(self) -> None:  # noqa: C901, PLR0915 - one handler beside the other
        self.service = service = Service("library")
        self.seen: list[Any] = []
        self.ended = trio.Event()

        @service.on("fetch")
        async def fetch(request: Request, size: int) -> Reply[int]:
            return Reply(size, streams={"file": b"x" * size, "events": Objects(self.ticks(3), Update)})

        @service.on("follow")
        async def follow(request: Request) -> Reply[str]:
            return Reply("from now on", streams={"events": Objects(self.ticks(10**9), Update)})

        @service.on("sink")
        async def sink(request: Request) -> Reply[None]:
            async def take(stream: ByteStream) -> None:
                try:
                    async for update in stream.objects(Update):
                        self.seen.append(update.number)
                    await stream.send(b"all read")
                    self.seen.append("end")
                except BaseException as error:
                    self.seen.append(type(error).__name__)
                    raise
                finally:
                    self.ended.set()

            return Reply(None, streams={"in": take})

        @service.on("late")
        async def late(request: Request, seconds: float) -> Reply[int]:
            source = self.ticks(5)
            try:
                await trio.sleep(seconds)
            except trio.Cancelled:
                await source.aclose()
                raise
            return Reply(1, streams={"events": Objects(source, Update)})

        @service.on("bad")
        async def bad(request: Request, what: str) -> Reply[int]:
            sources: dict[str, Any] = {"none": {"x": None}, "number": {"x": 5}, "name": {"@x": b""}}
            return Reply(1, streams=sources[what])

        @service.on("failing")
        async def failing(request: Request) -> Reply[int]:
            async def fail() -> AsyncIterator[bytes]:
                yield b"some"
                raise ZeroDivisionError("no more")

            return Reply(1, streams={"file": fail()})

        @service.on("talk")
        async def talk(channel: Channel[int, int]) -> Reply[int]:
            total = sum([number async for number in channel])
            return Reply(total, streams={"file": b"abc"})

        self.fetch, self.follow, self.sink, self.late, self.bad = fetch, follow, sink, late, bad
        self.failing, self.talk = failing, talk

    async def ticks(self, count: int) -> AsyncGenerator[Update, None]:
        try:
            for number in range(count):
                await trio.sleep(0.1)
                yield Update(number)
            self.seen.append("all")
        finally:
            self.seen.append("closed")
            self.ended.set()
