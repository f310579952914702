"""The public face of a node as mypy --strict and pyright strict see it: what passes, and what must not.

Checked, not run.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import trio

import swimring
from swimring import Answer, Broadcast, Member, Missed, Request, Service

if TYPE_CHECKING:
    from pathlib import Path

    from swimring.service import Caller, NodeView

app = Service("hello")


@app.on("greet", idempotent=True)
async def greet(request: Request, name: str, *, excited: bool = False) -> str:
    return f"hello {name}{'!' * excited} from {request.node.name}"


@app.on("upload")
async def upload(request: Request, name: str) -> int:
    size = 0
    async with request.streams["file"] as file:
        async for chunk in file:
            size += len(chunk)
    return size


async def a_node_asks(path: Path) -> None:
    async with swimring.open_node(app, join=["127.0.0.1:7979"]) as node:
        with trio.fail_after(2):
            assert_type(await node.call(greet, "k1", "World", excited=True), str)
            assert_type(
                await node.request({"ns": "hello", "cmd": "greet", "key": "k1", "name": "World"}, idempotent=True), Any
            )
        await node.cast({"ns": "hello", "cmd": "greet", "key": "k1", "name": "World"})
        peer = node.lookup("k1")
        assert_type(peer, Member)
        assert_type(node.replicas("k1", 2), tuple[Member, ...])
        assert_type(node.owns("k1"), bool)
        assert_type(await node.peer(peer.name).call(greet, "k1", "World"), str)
        async with node.open(upload.with_streams(file=path), path.name, path.name) as call:
            assert_type(await call.result(), int)


async def a_node_tells_and_asks_everybody(node: swimring.Node) -> None:
    await node.broadcast("deploy", {"version": 2})
    async with node.broadcasts() as broadcasts:
        async for broadcast in broadcasts:
            assert_type(broadcast, Broadcast | Missed)
            match broadcast:
                case Broadcast(name="deploy"):
                    assert_type(broadcast.payload, Any)
                case Missed(count=count):
                    assert_type(count, int)
                case _:
                    pass
    async with node.query("disk", {"path": "/"}, service=app, to=["a"], tags={"role": "db"}) as answers:
        async for answer in answers:
            assert_type(answer, Answer)
            assert_type(answer.error, Exception | None)
        assert_type(answers.unanswered, set[str])
    await node.update(tags={"role": "spare"}, details={"shards": [1]}, weight=2)
    assert_type(await node.details("a"), dict[str, Any])


async def a_node_is_asked_wrongly(node: swimring.Node) -> None:
    await node.call(greet, "k1")  # type: ignore[call-arg]
    await node.call(greet, "k1", 5)  # type: ignore[arg-type]
    await node.call(greet, 5, "World")  # type: ignore[arg-type]
    await node.request("greet")  # type: ignore[arg-type]
    node.lookup("k1", 5)  # type: ignore[call-arg,arg-type]
    node.lookup(5)  # type: ignore[arg-type]


def a_node_is_what_handlers_see(node: swimring.Node) -> tuple[Caller, NodeView]:
    return node, node
