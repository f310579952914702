"""Public async functions are checkpoints: others have their turn there, and who is cancelled learns it.

One exception, for speed: of small pieces that are sent only every 32nd is a turn for others; each is a place to be
cancelled.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import trio
from trio.testing import assert_checkpoints

from .nodes import Shop, key_of, nodes_at, simulated
from .talking import Studio, Update

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from swimring.node import Node
    from swimring.testing import SimulatedNetwork

    Functions: TypeAlias = Mapping[str, Callable[[], Awaitable[object]]]


async def missing(functions: Functions, *, schedule: bool = True) -> list[str]:
    """What of ``functions`` is no checkpoint, the second time either, when everything is at hand."""
    found = []
    for name, function in functions.items():
        for time in ("the first time", "the second time"):
            try:
                with assert_checkpoints():
                    await function()
            except AssertionError:
                found += [f"{name} {time}"] if schedule else []
        with trio.CancelScope() as scope:
            scope.cancel()
            await function()
        if not scope.cancelled_caught:
            found.append(f"{name}, cancelled")
    return found


def questions(a: Node, owner: str, shop: Shop) -> Functions:
    key = key_of(a, owner, service="shop")
    message, peer = {"ns": "shop", "cmd": "where", "key": key}, a.peer(owner)
    shout = shop.shout.with_streams(text=b"x")
    return {
        "call": lambda: a.call(shop.where, key),
        "call with streams": lambda: a.call(shout, key),
        "request": lambda: a.request(message),
        "cast": lambda: a.cast(message),
        "peer.call": lambda: peer.call(shop.where, key),
        "peer.request": lambda: peer.request(message),
        "peer.cast": lambda: peer.cast(message),
        "details": lambda: a.details(owner),
        "update": lambda: a.update(tags={"x": "y"}),
        "broadcast": lambda: a.broadcast("hello"),
        "wait_ring": lambda: a.wait_ring("shop", nodes=2),
        "join": lambda: a.join(["b:7979"]),
    }


@pytest.mark.parametrize("owner", ["a", "b"])
@simulated
async def test_asking_is_a_checkpoint_and_a_place_to_be_cancelled(network: SimulatedNetwork, owner: str) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _b):
        assert await missing(questions(a, owner, shop)) == []
        with assert_checkpoints():
            await a.leave()
        with assert_checkpoints():
            await a.leave()


@pytest.mark.parametrize("owner", ["a", "b"])
@simulated
async def test_so_is_everything_on_a_call_that_is_held_open(network: SimulatedNetwork, owner: str) -> None:
    shop, studio = Shop(), Studio()
    async with nodes_at(network, "ab", shop.service, studio.service) as (a, _b), AsyncExitStack() as stack:
        key = key_of(a, owner, service="shop")
        text = b"x" * 5_000
        shouting = await stack.enter_async_context(a.open(shop.shout.with_streams(text=None), key))
        stream = shouting.streams["text"]
        chat = await stack.enter_async_context(a.open(studio.chat, key))
        stack.enter_context(trio.fail_after(10))
        functions: dict[str, Callable[[], Awaitable[Any]]] = {
            "send": lambda: stream.send(text),
            "receive": lambda: stream.receive(10),
        }
        with assert_checkpoints():
            await anext(chat)
        assert await missing(functions) == []
        small: dict[str, Callable[[], Awaitable[Any]]] = {
            "send a small piece": lambda: stream.send(b"x"),
            "send an item": lambda: chat.send(Update(1)),
        }
        assert await missing(small, schedule=False) == []
        assert await missing({"result": chat.result}) == []
        with assert_checkpoints():
            await stream.send_eof()
        assert await missing({"result": shouting.result}) == []
        async with a.open(studio.chat, key) as chat:
            with assert_checkpoints():
                await chat.send_eof()
        async with a.open(studio.count, key, 3) as items:
            for _ in range(3):  # the last two are at hand
                with assert_checkpoints():
                    await anext(items)
            with pytest.raises(StopAsyncIteration), assert_checkpoints():
                await anext(items)
