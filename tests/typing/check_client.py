"""The client as mypy --strict and pyright strict see it. Checked, not run; see check_service.py."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

from swimring.client import Mesh, connect
from swimring.ring import HashRing
from swimring.service import ChannelCall, ItemsCall, Reply, TypedCall
from swimring.swim import Member

from .check_node import Line, chat, follow, live, total
from .check_service import greet

if TYPE_CHECKING:
    from swimring.identity import Address
    from swimring.service import Caller


async def uses(address: Address) -> None:
    async with connect("10.0.0.7:7979", address, cluster="hello") as mesh:
        assert_type(mesh, Mesh)
        assert_type(await mesh.call(greet, "k1", "World", excited=True), str)
        assert_type(await mesh.request({"ns": "hello", "cmd": "greet"}, idempotent=True), Any)
        await mesh.cast({"ns": "hello", "cmd": "greet"})
        assert_type(mesh.lookup("k1"), Member)
        assert_type(mesh.ring("hello"), HashRing)
        assert_type(await mesh.wait_ring("hello", nodes=3), HashRing)
        assert_type(mesh.replicas(b"k1", 2, "hello"), tuple[Member, ...])
        takes_a_caller(mesh)


async def wrong_uses(mesh: Mesh) -> None:
    await mesh.call(greet, "k1")  # type: ignore[call-arg]
    await mesh.call(greet, "k1", 5)  # type: ignore[arg-type]
    await mesh.request("greet")  # type: ignore[arg-type]
    mesh.lookup(5)  # type: ignore[arg-type]
    async with connect(5):  # type: ignore[arg-type]
        pass


async def streams(mesh: Mesh) -> None:
    async with mesh.open(live, "hello", 5) as items:
        assert_type(items, ItemsCall[Line])
        async for item in items:
            assert_type(item, Line)
    async with mesh.open(chat, "hello", topic="tea") as call:
        assert_type(call, ChannelCall[Line, str, int])
        await call.send(Line("x"))
        assert_type(await call.result(), int)
    async with mesh.open(total.with_streams(log=b"x"), None) as adding:
        await adding.send(5)
    async with mesh.open(greet, "k1", "World") as one:
        assert_type(one, TypedCall[str])
    async with mesh.open(follow, "k", 5) as held:
        assert_type(await held.result(), Reply[int])
    assert_type(await mesh.call(greet.with_streams(log=b"x"), "k1", "World"), str)


async def streams_wrongly(mesh: Mesh) -> None:
    await mesh.call(live, "k", 5)  # type: ignore[arg-type]
    mesh.open(live, "k", "5")  # type: ignore[call-overload]
    mesh.open(chat, "k")  # type: ignore[call-overload]
    async with mesh.open(chat, "k", "tea") as call:
        await call.send("text")  # type: ignore[arg-type]


def takes_a_caller(_caller: Caller) -> None: ...
