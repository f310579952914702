"""The programs that show what swimring feels like: services, questions, streams, ownership, a test that breaks things.

mypy --strict and pyright strict check them; `test_api.py` runs them.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

import swimring
from swimring import Channel, Moved, ReplicaChanged, Request, Service
from swimring.client import connect

if TYPE_CHECKING:
    from pathlib import Path

    from swimring import Node
    from swimring.testing import SimCluster

# ---------------------------------------------------------------------------------------------------------- a service

app = Service("hello")


@app.on({"cmd": "greet"}, idempotent=True)
async def greet(request: Request, name: str, *, excited: bool = False) -> str:
    return f"hello {name}{'!' * excited} from {request.node.name}"


# ------------------------------------------------------------------------------------------------------ streams


@dataclass(frozen=True)
class Update:
    number: int


@app.on("upload")
async def upload(request: Request, name: str) -> str:
    digest = hashlib.sha256(name.encode())
    async with request.streams["file"] as file:
        async for chunk in file:
            digest.update(chunk)
    return digest.hexdigest()


@app.on("live")
async def live(request: Request) -> AsyncIterator[Update]:
    number = 0
    while True:
        yield Update(number)
        number += 1


@app.on("chat")
async def chat(channel: Channel[str, str]) -> int:
    lines = 0
    async for line in channel:
        await channel.send(line.upper())
        lines += 1
    return lines


# --------------------------------------------------------------------------------------------------- asking


async def asks(node: Node) -> str:
    with trio.fail_after(2):
        text = await node.call(greet, "k1", "World", excited=True)
        same = await node.request({"ns": "hello", "cmd": "greet", "key": "k1", "name": "World"}, idempotent=True)
    await node.cast({"ns": "hello", "cmd": "greet", "key": "k1", "name": "World"})
    peer = node.lookup("k1")
    assert node.replicas("k1", 2)
    assert node.owns("k1") == (peer.name == node.name)
    assert len(node.members) == 3
    message = {"ns": "hello", "cmd": "greet", "name": "World"}
    assert await node.peer(peer.name).request(message) == same == f"hello World from {peer.name}"
    return text


async def streams(node: Node, path: Path) -> tuple[str, list[int], list[str], int]:
    async with node.open(upload.with_streams(file=path), path.name, path.name) as uploading:
        digest = await uploading.result()
    numbers: list[int] = []
    async with node.open(live, "hello") as items:
        async for item in items:
            numbers.append(item.number)
            if item.number == 2:
                break  # leaving the block cancels the handler on the owner
    async with node.open(chat, "hello") as talk:
        answers: list[str] = []
        for line in ("a", "b"):
            await talk.send(line)
            answers.append(await anext(talk))
        lines = await talk.result()
    return digest, numbers, answers, lines


# -------------------------------------------------------------------------------------- when a key changes hands


@dataclass
class State:
    runs: int = 0


async def follows(node: Node, key: str, tracked: trio.Event) -> list[str]:
    told: list[str] = []
    async with node.track(key, replicas=1) as moves:
        tracked.set()
        async for move in moves:
            match move:
                case ReplicaChanged(new=new):
                    told.append(f"replica on {new.name if new else 'nobody'}")
                case Moved(to=owner, reason=reason):
                    told.append(f"{reason}: {owner.name if owner else 'nobody'}")
    return told


async def runs_once(node: Node, key: str) -> tuple[int, int]:
    """Count one more run of a job; return the count and the fence of this owner."""
    async with node.own(key, State) as own:
        state = await own.restore() or State()
        state.runs += 1
        await own.checkpoint(state)
        return state.runs, own.fence.number
    raise AssertionError("the key moved in the middle")


counted = Service("counted")
counts = counted.own_keys(State, replicas=2, idle=300)


@counted.on("count")
async def count(request: Request) -> int:
    own = counts.of(request)
    own.state.runs += 1
    await own.checkpoint()
    return own.state.runs


@counted.on("counted", idempotent=True)
async def how_many(request: Request) -> int:
    return counts.of(request).state.runs


# -------------------------------------------------------------------------------------- a test that breaks things


async def write(node: Node, number: int) -> int:
    return await node.call(count, f"key {number}")


async def is_kept(node: Node, number: int, told: int) -> bool:
    return await node.call(how_many, f"key {number}") >= told


async def loses_no_acknowledged_write(cluster: SimCluster) -> None:
    nodes = await cluster.start(5, counted)
    await cluster.settled()
    async with cluster.load(write, rate=10, check=is_kept) as load:
        await trio.sleep(2)
        nodes[3].crash()
        await trio.sleep(5)
        await nodes[3].restart()
        await nodes[0].drain()
    await cluster.settled()
    assert load.lost == 0
    assert load.failed_unexplained == 0


# ------------------------------------------------------------------------------------------------ from outside


async def from_outside() -> str:
    async with swimring.open_node(app, name="n1", cluster="hello", listen="127.0.0.1:0", join=["127.0.0.1:1"]) as node:
        async with connect(str(node.me.address)) as mesh:
            return await mesh.call(greet, "k1", "World")
