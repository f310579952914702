"""What upring's nodes answer in the namespace ``monitoring`` (its tests U29 to U32), and what is added here."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - handlers are read
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.errors import Overloaded
from swimring.node.monitoring import MAX_KEYS, MAX_SAMPLES, MAX_WATCHERS
from swimring.service import Request, Service
from tests.node.nodes import Shop, key_of, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.node import Node
    from swimring.testing import SimulatedNetwork


def ask(node: Node, cmd: str, at: str = "a") -> Any:
    return node.peer(at).request({"ns": "monitoring", "cmd": cmd})


def follow(node: Node, cmd: str, at: str = "a", **fields: Any) -> Any:
    service = Service("monitoring")

    @service.on(cmd, idempotent=True)
    async def watched(request: Request, /, **fields: Any) -> AsyncIterator[Any]:
        raise NotImplementedError
        yield {}

    return node.peer(at).open(watched, **fields)


@simulated
async def test_memory_usage_is_told_by_the_node_that_is_asked(network: SimulatedNetwork) -> None:
    async with nodes_at(network, "ab", Shop().service) as (a, _b):
        for at in "ab":
            usage = await ask(a, "memoryUsage", at)
            assert min(usage["rss"], usage["peak"], usage["blocks"]) > 0


@simulated
async def test_info_is_the_name_and_the_address_and_what_the_program_adds_which_stays_as_it_is(
    network: SimulatedNetwork,
) -> None:
    async with nodes_at(network, "ab", Shop().service) as (a, b):
        bare = {"id": "b", "swimring": {"address": "b", "port": 7979}}
        assert await ask(a, "info", "b") == bare
        b.info["team"] = {"name": "blue", "size": 3}
        assert await ask(a, "info", "b") == {**bare, "team": {"name": "blue", "size": 3}}
        assert b.info == {"team": {"name": "blue", "size": 3}}
        b.info["id"] = "another"
        assert (await ask(a, "info", "b"))["id"] == "another"
        async with a.query("info", service="monitoring") as answers:
            assert {answer.member async for answer in answers} == {"a", "b"}


@simulated
async def test_trace_tells_the_keys_that_were_called_for_once_each_the_most_recent_first(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    async with nodes_at(network, "a", shop.service) as (a,):
        await a.call(shop.add, "before", 1)
        async with follow(a, "trace") as traced, follow(a, "trace") as beside:
            await trio.sleep(0.1)
            for key in ("hello", "world", "hello", "world"):
                await a.call(shop.add, key, 1)
            ring = a.ring("shop")
            expected = [{"key": key, "hash": ring.position(key)} for key in ("world", "hello")]
            for each in (traced, beside):
                assert await anext(aiter(each)) == {"id": "a", "keys": expected}
                assert await anext(aiter(each)) == {"id": "a", "keys": []}
            for number in range(MAX_KEYS + 5):
                await a.call(shop.add, f"k{number}", 1)
            assert len((await anext(aiter(traced)))["keys"]) == MAX_KEYS


@simulated
async def test_nobody_follows_calls_when_nobody_watches_any_more(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        for cmd, fields in (("trace", {}), ("calls", {"of": "k"})):
            async with follow(b, cmd, **fields):
                await trio.sleep(1)
                assert a._instruments.traced
                assert not b._instruments.traced
            await trio.sleep(1)
            assert not a._instruments.traced


@simulated
async def test_the_calls_of_a_key_are_told_by_its_owner_as_they_end(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        key, other = key_of(a, "a"), key_of(a, "b")
        async with follow(b, "calls", of=key, service="shop") as calls:
            await trio.sleep(0.1)
            await b.call(shop.nap, key, 2.0)
            await b.call(shop.add, other, 1)
            with trio.move_on_after(1):
                await b.call(shop.nap, key, 50.0)
            told = [await anext(aiter(calls)) for _ in range(2)]
        assert [(one["cmd"], one["peer"], one["missed"]) for one in told] == [("nap", "b", 0), ("nap", "b", 0)]
        assert told[0]["outcome"] == "ok"
        # The deadline travels: whichever is first, it or the word of the caller.
        assert told[1]["outcome"] in {"cancelled", "DeadlineExceeded"}
        assert [one["seconds"] for one in told] == [pytest.approx(2.0, abs=0.1), pytest.approx(1.0, abs=0.1)]


@simulated
async def test_who_is_too_slow_for_the_calls_hears_how_many_were_left_out(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "a", shop.service) as (a,):
        async with follow(a, "calls", of="k") as calls:
            await trio.sleep(0.1)
            async with trio.open_nursery() as nursery:
                for _ in range(3 * MAX_SAMPLES):
                    nursery.start_soon(a.call, shop.nap, "k", 1.0)
            told = []
            with trio.move_on_after(1):
                async for one in calls:
                    told.append(one)  # noqa: PERF401 - what came before the time was over counts
        assert MAX_SAMPLES <= len(told) < 3 * MAX_SAMPLES
        assert told[-1]["missed"] == 3 * MAX_SAMPLES - len(told)


@simulated
async def test_only_so_many_watch_one_node_at_once(network: SimulatedNetwork) -> None:
    async with nodes_at(network, "a", Shop().service) as (a,):
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async with follow(a, "trace"):
                    await trio.sleep(5)

            for _ in range(MAX_WATCHERS):
                nursery.start_soon(watch)
            await trio.sleep(1)
            with pytest.raises(Overloaded):
                async with follow(a, "trace") as one_more:
                    await anext(aiter(one_more))


@simulated
async def test_a_program_with_a_service_of_this_name_answers_itself(network: SimulatedNetwork) -> None:
    service = Service("monitoring")

    @service.on("info")
    async def info(request: Request) -> str:
        return "mine"

    async with nodes_at(network, "a", service) as (a,):
        assert await ask(a, "info") == "mine"
