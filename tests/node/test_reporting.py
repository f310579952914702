from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.service import Request, Service

from .nodes import Shop, key_of, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork

ASK = {"ns": "swimring", "cmd": "statistics"}


@simulated
async def test_a_node_tells_others_how_it_is(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        told = await a.peer("b").request(ASK, idempotent=True)
        assert told["name"] == "b"
        assert told["owned"]["shop"] == pytest.approx(b.ring().share()["b"])
        assert (told["suspicions"], told["hand_off"]) == ([], {"total": 0, "left": 0})
        assert "running" not in told


@simulated
async def test_observers_add_parts_and_parts_that_nobody_has_are_left_out(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        b.add_report("twice", lambda of: 2 * of["number"])
        told = await a.peer("b").request({**ASK, "about": ["twice", "nonsense"], "of": {"number": 21}}, idempotent=True)
        assert told["twice"] == 42
        assert "nonsense" not in told


@simulated
async def test_a_part_that_is_asked_for_many_times_is_made_once(network: SimulatedNetwork) -> None:
    asked = list[object]()
    async with nodes_at(network, "ab", Shop().service) as (a, b):
        b.add_report("costly", asked.append)
        await a.peer("b").request({**ASK, "about": ["costly"] * 1000}, idempotent=True)
    assert len(asked) == 1


async def lower(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started()
    await trio.sleep_forever()


async def child(began: trio.Event) -> None:
    async with trio.open_nursery() as below:
        await below.start(lower)
        began.set()


@simulated
async def test_who_runs_for_which_key_since_when_and_until_when_is_found_with_the_tasks_below(
    network: SimulatedNetwork,
) -> None:
    service, began = Service("work"), trio.Event()

    @service.on("dig")
    async def dig(request: Request) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, began)

    async with nodes_at(network, "ab", service) as (a, b):
        key = key_of(a, "b")
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                with trio.move_on_after(100):
                    await a.call(dig, key)

            nursery.start_soon(call)
            await began.wait()
            await trio.sleep(1)
            (told,) = (await a.peer("b").request({**ASK, "about": ["running"]}, idempotent=True))["running"]
            assert (told["ns"], told["cmd"], told["key"], told["peer"]) == ("work", "dig", key, "a")
            assert told["since"] == pytest.approx(1, abs=0.2)
            assert told["left"] == pytest.approx(99, abs=0.2)
            assert "dig (test_reporting.py:" in told["where"][-1]
            assert [(each["depth"], each["where"][-1].split(" ")[0].split(".")[-1]) for each in told["children"]] == [
                (1, "child"),
                (2, "lower"),
            ]
            for no_such in ("another", ["what", "has", "no", "hash"]):
                wanted = {**ASK, "about": ["running"], "of": {"key": no_such}}
                assert (await a.peer("b").request(wanted, idempotent=True))["running"] == []
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert b.running_calls() == []


@simulated
async def test_a_call_of_a_node_to_itself_is_told_under_its_own_name(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "a", shop.service) as (a,):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.call, shop.nap, "k", 5.0)
            await shop.opened.wait()
            (call,) = a.running_calls()
            assert (call.peer, call.key, call.deadline) == ("a", "k", float("inf"))
            nursery.cancel_scope.cancel()


@simulated
async def test_suspicions_under_way_are_told_with_their_accusers_and_their_end(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as (a, _, _):
        with network.isolate("c"):
            async with a.events() as events:
                while not (told := a.report((), {})["suspicions"]):
                    await anext(events)
            (suspicion,) = told
            assert suspicion["suspect"] == "c"
            assert suspicion["accusers"]
            assert 0 < suspicion["left"] <= suspicion["lasts"]


@dataclass
class Total:
    value: int = 0


@simulated
async def test_keys_that_are_open_and_keys_that_are_tracked_are_told(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        key = key_of(a, "b")
        assert b.report(["ownership"], {})["ownership"]["open"] == []
        async with b.own(key, Total), b.track(key):
            told = (await a.peer("b").request({**ASK, "about": ["ownership"]}, idempotent=True))["ownership"]
            assert (told["scopes"], told["tracked"], told["open"]) == (1, 1, [["shop", key.encode()]])
            assert told["tracking"] == told["open"]
            others = b.report(["ownership"], {"service": "bank"})["ownership"]
            assert others["open"] == others["tracking"] == []
