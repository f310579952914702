"""The public face of a service as mypy --strict and pyright strict see it: what passes, and what must not.

Checked, not run. Each `type: ignore` marks a wrong use: both checkers complain about one they do not need.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_type

from swimring.service import Answer, Caller, Endpoint, NodeView, Request, Service, WithStreams

if TYPE_CHECKING:
    from pathlib import Path

app = Service("hello")


@dataclass(frozen=True, slots=True)
class Person:
    name: str


@app.on({"cmd": "greet"}, idempotent=True)
async def greet(request: Request, name: str, *, excited: bool = False) -> str:
    return f"hello {name}{'!' * excited} from {request.node.name}"


@app.on("find")
async def find(request: Request, /, person: Person, **limits: int) -> list[Person] | None:
    return [person] if limits else None


@app.on("one")
async def find_one(request: Request, _person: Person, /) -> int:
    return 1


@app.default
async def rest(request: Request) -> None:
    return None


async def calls(node: Caller) -> None:
    assert_type(await node.call(greet, "k1", "World"), str)
    assert_type(await node.call(greet, b"k1", name="World", excited=True), str)
    assert_type(await node.call(greet, None, "World"), str)
    assert_type(await node.call(find, "k1", Person("Ada"), most=3), list[Person] | None)
    await node.call(rest, "k1")
    await node.cast({"ns": "hello", "cmd": "greet", "name": "World"})
    await node.request({"ns": "hello", "cmd": "greet", "name": "World"}, idempotent=True)


async def wrong_calls(node: Caller) -> None:
    await node.call(greet, "k1")  # type: ignore[call-arg]
    await node.call(greet, "k1", 5)  # type: ignore[arg-type]
    await node.call(greet, 5, "World")  # type: ignore[arg-type]
    await node.call(greet, "k1", "World", True)  # type: ignore[call-arg]
    await node.call(greet, "k1", "World", loud=True)  # type: ignore[call-arg]
    await node.call(greet, "k1", "World", excited=1)  # type: ignore[arg-type]
    await node.call(find, "k1", Person("Ada"), most="3")  # type: ignore[arg-type]
    await node.call(greet, name="World")  # type: ignore[call-arg]
    await node.cast("greet")  # type: ignore[arg-type]


async def a_handler_asks_and_tells_everybody(request: Request) -> None:
    await request.node.broadcast("deploy", {"version": 2})
    async with request.node.query("disk", {"path": "/"}, service="shop", tags={"role": "db"}) as answers:
        async for answer in answers:
            assert_type(answer, Answer)
        assert_type(answers.unanswered, Collection[str])
    await request.node.broadcast(5)  # type: ignore[arg-type]
    request.node.query("disk", "/")  # type: ignore[arg-type]


async def in_a_unit_test(node: NodeView) -> None:
    request = Request(node=node, key="k1")
    assert_type(await greet(request, "World", excited=True), str)
    await greet(request)  # type: ignore[call-arg]
    await greet("World")  # type: ignore[arg-type,call-arg]
    request.key = "k2"  # type: ignore[misc]


def streams(path: Path) -> None:
    takes_a_call_with_streams(find_one.with_streams(file=path, log=b"abc", talk=None))
    takes_a_call_with_streams(greet.with_streams(file=path))  # type: ignore[arg-type]
    greet.with_streams(file=5)  # type: ignore[arg-type]


def takes_a_call_with_streams(call: WithStreams[Endpoint[[Person], int]]) -> None:
    assert_type(call.endpoint, Endpoint[[Person], int])
    assert_type(call.endpoint.load_result(5), int)


def wrong_handlers() -> None:
    @app.on("sync")  # type: ignore[arg-type]
    def sync(request: Request) -> str:
        return ""

    @app.on("nothing")  # type: ignore[arg-type]
    async def nothing() -> str:
        return ""

    @app.on("requestless")  # type: ignore[arg-type]
    async def requestless(name: str) -> str:
        return name

    app.on(5)  # type: ignore[arg-type]
    app.on("x", True)  # type: ignore[call-arg]
