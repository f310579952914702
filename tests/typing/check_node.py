"""The public face of a node as mypy --strict and pyright strict see it: what passes, and what must not.

Checked, not run.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Never, assert_type

import trio

import swimring
from swimring import Answer, Broadcast, ByteStream, Channel, Member, Missed, Objects, Reply, Request, Service
from swimring.ring import Move
from swimring.service import ChannelCall, ItemsCall, ItemStream, TypedCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from swimring.node import NodeSettings
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


@dataclass(frozen=True, slots=True)
class Line:
    text: str


@app.on("live")
async def live(request: Request, since: int = 0) -> AsyncIterator[Line]:
    yield Line(f"{since}")


@app.on("chat")
async def chat(channel: Channel[Line, str], topic: str) -> int:
    assert_type(channel.request, Request)
    async for line in channel:
        assert_type(line, Line)
        await channel.send(line.text)
        await channel.send(line)  # type: ignore[arg-type]
    return 0


@app.on("sum")
async def total(channel: Channel[int, Never]) -> int:
    return sum([number async for number in channel])


@app.on("follow")
async def follow(request: Request, since: int) -> Reply[int]:
    return Reply(since, streams={"lines": Objects([Line("x")], Line), "in": take, "file": b"abc"})


async def take(stream: ByteStream) -> None:
    assert_type(await stream.receive(), bytes)


async def a_node_gets_a_reply(node: swimring.Node) -> None:
    async with node.open(follow, "k", 5) as call:
        reply = await call.result()
        assert_type(reply, Reply[int])
        assert_type(reply.value, int)
        assert_type(reply.streams["lines"].objects(Line), ItemStream[Line, Line])
    assert_type((await node.call(follow, "k", 5)).value, int)
    Reply(1, streams={"x": 5})  # type: ignore[dict-item]


async def a_node_streams(node: swimring.Node, path: Path, lines: AsyncIterator[Line]) -> None:
    async with node.open(live, "hello", 5) as items:
        assert_type(items, ItemsCall[Line])
        async for item in items:
            assert_type(item, Line)
    async with node.open(chat, "hello", topic="tea") as call:
        assert_type(call, ChannelCall[Line, str, int])
        await call.send(Line("x"))
        async for answer in call:
            assert_type(answer, str)
        assert_type(await call.result(), int)
    async with node.peer("b").open(total.with_streams(log=path), None) as adding:
        await adding.send(5)
        assert_type(await adding.result(), int)
    async with node.open(live.with_streams(events=Objects(lines, Line)), "k") as more:
        assert_type(more, ItemsCall[Line])
        assert_type(more.streams["events"].objects(Line), ItemStream[Line, Line])
    async with node.open(greet, "k1", "World") as one:
        assert_type(one, TypedCall[str])


async def a_node_streams_wrongly(node: swimring.Node) -> None:
    await node.call(live, "k", 5)  # type: ignore[arg-type]
    await node.call(chat, "k", "tea")  # type: ignore[arg-type]
    node.open(live, "k", "5")  # type: ignore[call-overload]
    node.open(live, 5)  # type: ignore[call-overload]
    node.open(chat, "k")  # type: ignore[call-overload]
    async with node.open(chat, "k", "tea") as call:
        await call.send("text")  # type: ignore[arg-type]
        async for answer in call:
            assert answer.text  # type: ignore[attr-defined]
    async with node.open(total, "k") as adding:
        await adding.send("5")  # type: ignore[arg-type]
    async with node.open(live, "k") as items:
        await items.send(Line("x"))  # type: ignore[attr-defined]
        async for item in items:
            assert item.number  # type: ignore[attr-defined]


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


async def a_node_is_opened(settings: NodeSettings) -> None:
    settings["weight"] = 2
    async with swimring.open_node(app, network=None, **settings) as node:
        assert_type(node, swimring.Node)
    async with swimring.open_node(cluster="hello", tags={"role": "db"}, secret=[b"k" * 32], profile="lan"):
        pass


def a_node_is_opened_wrongly() -> None:
    swimring.open_node(app, timeout=5)  # type: ignore[call-arg]
    swimring.open_node(app, expect="3")  # type: ignore[arg-type]
    swimring.open_node("hello")  # type: ignore[arg-type]


def a_node_is_what_handlers_see(node: swimring.Node) -> tuple[Caller, NodeView]:
    return node, node


async def track(node: swimring.Node) -> None:
    async with node.track("k", replicas=2, service="kv") as moves:
        async for move in moves:
            match move:
                case swimring.Moved(to=owner, reason=reason):
                    assert_type(owner, Member | None)
                    assert_type(reason, Literal["joined", "rebalanced", "cordoned", "left", "closed"])
                case swimring.ReplicaChanged(new=new, old=old):
                    assert_type(new, Member | None)
                    assert_type(old, Member | None)
    async with node.events() as events:
        async for event in events:
            match event:
                case (
                    swimring.RangesLost(service=service, moves=lost)
                    | swimring.RangesGained(service=service, moves=lost)
                ):
                    assert_type(service, str)
                    assert_type(lost, tuple[Move, ...])
                case _:
                    pass
    assert_type(await node.wait_owned("k"), None)
    node.track(1)  # type: ignore[arg-type]
    node.track("k", replicas="1")  # type: ignore[arg-type]
