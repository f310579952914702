"""Queries: one question to many members, their answers as they come."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.errors import (
    ConfigError,
    ConnectionLost,
    HandlerFailed,
    InvalidRequest,
    LocalProtocolError,
    NodeClosed,
    NoSuchHandler,
    Unreachable,
)
from swimring.node.querying import AT_ONCE
from swimring.service import Answer, Request, Service
from swimring.swim import Broadcast

from .nodes import Shop, living_tasks, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.node import Answers, Node
    from swimring.testing import SimulatedNetwork


async def all_of(answers: Answers) -> list[Answer]:
    return [answer async for answer in answers]


async def values(node: Node, name: str, payload: dict[str, Any] | None = None, **which: Any) -> dict[str, Any]:
    async with node.query(name, payload, **which) as answers:
        return {answer.member: answer.error or answer.value for answer in await all_of(answers)}


@simulated
async def test_every_member_that_offers_the_service_answers_once_this_one_included(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as nodes, node_at(network, "d", join=["a"]) as asker:
        for node in (*nodes, asker):
            await node.wait_ring("shop", nodes=3)
            async with node.query("where", service=shop.service) as answers:
                said = await all_of(answers)
            assert sorted((answer.member, answer.value) for answer in said) == [("a", "a"), ("b", "b"), ("c", "c")]
            assert answers.unanswered == set()


@simulated
async def test_the_payload_is_what_the_handler_takes_and_is_checked(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        assert await values(a, "add", {"a": 2, "b": 3}) == {"a": 5, "b": 5}
        refused = await values(a, "add", {"a": "two"})
        assert {type(error) for error in refused.values()} == {InvalidRequest}
        for wrong in ({"key": "k"}, {"ns": "other"}, ["a"]):
            with pytest.raises(InvalidRequest):
                await values(a, "add", wrong)  # type: ignore[arg-type]
        with pytest.raises(LocalProtocolError):
            await values(a, "add", {"a": object()})


@simulated
async def test_answers_come_as_they_are_ready(network: SimulatedNetwork) -> None:
    service = Service("slow")

    @service.on("nap")
    async def nap(request: Request) -> float:
        seconds = {"a": 3.0, "b": 1.0, "c": 2.0}[request.node.name]
        await trio.sleep(seconds)
        return seconds

    async with nodes_at(network, "abc", service) as (a, *_):
        began = trio.current_time()
        async with a.query("nap") as answers:
            async for answer in answers:
                assert trio.current_time() - began == pytest.approx(answer.value, abs=0.1)
                assert answer.member not in answers.unanswered
        assert trio.current_time() - began == pytest.approx(3.0, abs=0.1)


@simulated
async def test_a_member_that_fails_or_has_no_such_handler_says_so(network: SimulatedNetwork) -> None:
    shop, other = Shop(), Service("shop")

    @other.on("where")
    async def where(request: Request) -> str:
        return "elsewhere"

    async with nodes_at(network, "ab", shop.service) as (a, _), node_at(network, "c", other, join=["a"]):
        await a.wait_ring("shop", nodes=3)
        said = await values(a, "fail", {"text": "no"})
        assert {name: type(error) for name, error in said.items()} == {
            "a": HandlerFailed, "b": HandlerFailed, "c": NoSuchHandler,
        }  # fmt: skip


@simulated
async def test_a_member_that_cannot_be_reached_is_reported(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as (a, *_):
        with network.isolate("c"):
            said = await values(a, "where", to=["a", "b", "c", "nobody"])
        assert (said["a"], said["b"]) == ("a", "b")
        assert isinstance(said["c"], Unreachable | ConnectionLost)  # lost, if they were connected already
        assert isinstance(said["nobody"], Unreachable)


@simulated
async def test_the_deadline_travels_and_who_was_too_slow_is_named(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as (a, *_):
        with trio.move_on_after(2) as scope:
            async with a.query("deadline") as answers:
                assert all(max(answer.value) <= 2 for answer in await all_of(answers))
        assert not scope.cancelled_caught
        with trio.move_on_after(2) as scope:
            async with a.query("nap", {"seconds": 50.0}) as answers:
                await all_of(answers)
        assert scope.cancelled_caught
        assert answers.unanswered == {"a", "b", "c"}
        await trio.sleep(1)
        assert sorted(what for what, _ in shop.seen) == ["began"] * 3 + ["cancelled"] * 3


@simulated
async def test_leaving_the_block_cancels_what_is_still_open(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as (a, *_):
        await values(a, "where")
        before = living_tasks()
        async with a.query("nap", {"seconds": 50.0}):
            await shop.opened.wait()
        await trio.sleep(1)
        assert [what for what, _ in shop.seen].count("cancelled") == [what for what, _ in shop.seen].count("began") > 0
        assert not {task for task in living_tasks() - before if "_ask_on" in task}


@simulated
async def test_an_error_of_the_block_comes_out_as_it_is(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        with pytest.raises(ZeroDivisionError):
            async with a.query("nap", {"seconds": 50.0}):
                raise ZeroDivisionError


@simulated
async def test_some_members_are_asked_by_name_or_by_tag(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with (
        node_at(network, "a", shop.service, tags={"role": "db", "rack": "1"}) as a,
        node_at(network, "b", shop.service, join=["a"], tags={"role": "db"}),
        node_at(network, "c", shop.service, join=["a"], tags={"role": "web", "rack": "12"}),
    ):
        await a.wait_ring("shop", nodes=3)
        assert set(await values(a, "where", to=["b", "c"])) == {"b", "c"}
        assert set(await values(a, "where", tags={"role": "db"})) == {"a", "b"}
        assert set(await values(a, "where", tags={"rack": re.compile("1.*")})) == {"a", "c"}
        assert set(await values(a, "where", tags={"rack": ...})) == {"a", "c"}
        assert set(await values(a, "where", to=["b", "c"], tags={"role": "web"})) == {"c"}
        assert await values(a, "where", tags={"role": "nothing"}) == {}


@simulated
async def test_what_every_node_answers_about_itself_can_be_asked_of_all(network: SimulatedNetwork) -> None:
    async with nodes_at(network, "abc", Shop().service) as (a, *_), node_at(network, "d", join=["a"]):
        said = await values(a, "info", service="swimring")
        assert {name: info["name"] for name, info in said.items()} == {name: name for name in "abc"} | {"d": "d"}


@simulated
async def test_so_many_are_asked_at_once_and_more_when_answers_are_taken(network: SimulatedNetwork) -> None:
    service, asked = Service("many"), 0

    @service.on("ask")
    async def ask(request: Request) -> None:
        nonlocal asked
        asked += 1

    async with nodes_at(network, "a", service) as (a,):
        nobody = [f"x{number}" for number in range(3 * AT_ONCE)]
        async with a.query("ask", to=[*nobody, "a"]) as answers:
            await trio.sleep(5)
            assert asked == 1  # "a" is the first by name; then the unknown ones, of which each fails
            assert len(answers.unanswered) == 3 * AT_ONCE + 1
            said = await all_of(answers)
            assert len(said) == 3 * AT_ONCE + 1


@simulated
async def test_nobody_asks_after_its_farewell_or_without_saying_what(network: SimulatedNetwork) -> None:
    async with nodes_at(network, "ab", Shop("one").service, Shop("two").service) as (a, _):
        with pytest.raises(ConfigError, match="service"):
            a.query("where")
        with pytest.raises(ConfigError, match="list of names"):
            a.query("where", service="one", to="ab")
        await a.leave()
        with pytest.raises(NodeClosed):
            a.query("where", service="one")


@simulated
async def test_a_handler_asks_and_tells_everybody_as_its_node_does(network: SimulatedNetwork) -> None:
    service = Service("poll")

    @service.on("name", idempotent=True)
    async def name(request: Request) -> str:
        return request.node.name

    @service.on("everybody", idempotent=True)
    async def everybody(request: Request) -> list[str]:
        async with request.node.query("name") as answers:
            found = sorted([str(answer.value) async for answer in answers])
        await request.node.broadcast("polled", len(found))
        return found

    async with nodes_at(network, "ab", service) as (a, b):
        async with b.broadcasts() as broadcasts:
            assert await a.call(everybody, "k") == ["a", "b"]
            heard = await anext(aiter(broadcasts))
            assert isinstance(heard, Broadcast)
            assert (heard.name, heard.payload) == ("polled", 2)
