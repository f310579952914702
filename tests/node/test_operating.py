"""What operators do to whole nodes: cordon, uncordon, drain, evict."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - annotations of handlers are evaluated
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.builtin import NAMESPACE
from swimring.errors import ConfigError, Evicted, InvalidRequest, NodeClosed, Unreachable
from swimring.service import Request, Service
from swimring.swim import Phase, Status

from .nodes import Shop, hold, key_of, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.node import Node
    from swimring.testing import SimulatedNetwork


seen_from_afar = Service(NAMESPACE)


@seen_from_afar.on("drain", idempotent=True)
async def drain(request: Request) -> AsyncIterator[dict[str, int]]:
    raise NotImplementedError
    yield {}


async def wait_rings(nodes: list[Node], count: int) -> None:
    with trio.fail_after(10):
        for node in nodes:
            await node.wait_ring(nodes=count)


@simulated
async def test_a_cordoned_node_takes_no_keys_stays_and_takes_them_again(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as nodes:
        a, b, _c = nodes
        keys = {key: a.lookup(key).name for key in (f"k{n}" for n in range(100))}
        await b.cordon()
        await wait_rings(nodes, 2)
        assert b.standing.phase == Phase.CORDONED
        for key, owner in keys.items():
            assert a.lookup(key).name == b.lookup(key).name != "b"
            assert owner in {"b", a.lookup(key).name}, "no other key moves"
            assert await b.call(shop.where, key) == a.lookup(key).name
        assert a.members[1].status is Status.ALIVE
        assert await a.peer("b").call(shop.where) == "b"
        await b.update(tags={"a": "b"}, weight=1)
        assert b.standing.phase == Phase.CORDONED, "other things that it tells do not end it"
        await b.uncordon()
        await wait_rings(nodes, 3)
        assert {key: a.lookup(key).name for key in keys} == keys
        assert b.me.metadata.tags == {"a": "b"}


@simulated
async def test_a_cordon_ends_with_the_life_of_the_node(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a:
        async with node_at(network, "b", shop.service, join=["a"]) as b:
            await b.cordon()
        async with node_at(network, "b", shop.service, join=["a"]) as b:
            await wait_rings([a, b], 2)
            assert b.standing.phase == Phase.SERVING


@simulated
async def test_every_member_can_be_cordoned_from_afar_and_nobody_takes_keys_when_all_are(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as nodes:
        a, b = nodes
        for name in "ab":
            told = await a.peer(name).request({"ns": "swimring", "cmd": "cordon"})
            assert (told["name"], told["takes"]) == (name, "cordoned")
        await wait_rings(nodes, 0)
        with pytest.raises(Unreachable, match="takes keys"):
            b.lookup("k")
        assert await a.call(shop.where) in {"a", "b"}, "what needs no key is still answered"
        assert (await a.peer("b").request({"ns": "swimring", "cmd": "uncordon"}))["takes"] == "all"
        await wait_rings(nodes, 1)
        assert a.lookup("k").name == "b"


@simulated
async def test_a_node_that_is_told_to_drain_takes_no_keys_and_asks_its_program_to_leave(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a, trio.open_nursery() as nursery:
        drained = trio.Event()

        async def run() -> None:
            async with node_at(network, "b", shop.service, join=["a"]) as b:
                b.hand_off.tell(total=10, left=10)
                await b.wait_drain_asked()
                await trio.sleep(0.5)
                b.hand_off.tell(total=10, left=4)
                await trio.sleep(0.5)
            drained.set()

        nursery.start_soon(run)
        await wait_rings([a], 2)
        async with a.peer("b").open(drain, None) as moving:
            heard = [item async for item in moving]
        await wait_rings([a], 1)
        with trio.fail_after(5):
            await drained.wait()
        assert heard == [{"total": 10, "left": 10}, {"total": 10, "left": 4}]
        assert a.members[1].status is Status.LEFT


@simulated
async def test_who_drains_cannot_be_told_to_stay(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        await b.ask_to_drain()
        with pytest.raises(ConfigError, match="drains"):
            await b.uncordon()
        with pytest.raises(InvalidRequest, match="start it again"):
            await a.peer("b").request({"ns": "swimring", "cmd": "cordon"})
        await a.leave()
        with pytest.raises(NodeClosed):
            await a.cordon()


@simulated
async def test_an_evicted_member_is_dead_to_all_within_two_seconds_although_it_answers_and_stops(
    network: SimulatedNetwork,
) -> None:
    """It was neither restarted nor unreachable: nothing but the word of an operator says so."""
    shop = Shop()
    async with nodes_at(network, "acde", shop.service) as nodes, trio.open_nursery() as nursery:
        ended: list[BaseException] = []
        stopped = trio.Event()

        async def run() -> None:
            try:
                await hold(node_at(network, "b", shop.service, join=["a"]))
            except Evicted as error:
                ended.append(error)
                stopped.set()

        nursery.start_soon(run)
        await wait_rings(nodes, 5)
        key = key_of(nodes[0], "b")
        began = trio.current_time()
        told = await nodes[0].peer("c").request({"ns": "swimring", "cmd": "evict", "name": "b"})
        assert (told["name"], told["status"]) == ("b", "alive")
        await wait_rings(nodes, 4)
        for node in nodes:
            # It says farewell when it stops: who has heard of that already takes it for left.
            assert {member.name: member.status for member in node.members}["b"] in (Status.DEAD, Status.LEFT)
            assert await node.call(shop.where, key) != "b"
        assert trio.current_time() - began < 2
        with trio.fail_after(2):
            await stopped.wait()
        assert "start it again" in str(ended[0])
        async with node_at(network, "b", shop.service, join=["a"]) as b:
            await wait_rings([*nodes, b], 5)
        nursery.cancel_scope.cancel()


@simulated
async def test_only_another_member_that_is_here_can_be_evicted(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        with pytest.raises(ConfigError, match="cannot evict itself"):
            await b.evict("b")
        with pytest.raises(Unreachable, match="nobody"):
            await b.evict("nobody")
        with pytest.raises(InvalidRequest, match="ask another one"):
            await a.peer("b").request({"ns": "swimring", "cmd": "evict", "name": "b"})
        assert len(a.members) == 2
