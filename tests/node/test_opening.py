"""From settings to a running node, and back to nothing."""

from __future__ import annotations

import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from swimring.errors import ConfigError, Draining, NameConflict, NodeClosed
from swimring.identity import Address
from swimring.mux import MAGIC
from swimring.node import Node, open_node
from swimring.service import Request, Service
from swimring.swim import Profile, Status
from swimring.testing import SimulatedHost, open_sim_cluster, run_simulation

from .nodes import PORT, Shop, hold, key_of, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.testing import SimulatedNetwork


async def assert_nothing_bound(network: SimulatedNetwork, host: str) -> None:
    binding = await network.at(host).bind(Address(host, PORT))
    binding.close()


# -------------------------------------------------------------------------------------------------------- starting


@simulated
async def test_an_address_that_is_taken_is_an_error_that_leaves_nothing_behind(network: SimulatedNetwork) -> None:
    taken = await network.at("a").bind(Address("a", PORT))
    with pytest.raises(OSError, match="a:7979") as caught:
        async with node_at(network, "a"):
            raise AssertionError("this never runs")
    assert caught.value.errno == errno.EADDRINUSE
    taken.close()
    await assert_nothing_bound(network, "a")


@simulated
async def test_without_listen_the_first_free_loopback_port_is_taken_and_the_others_are_tried(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    machine = network.at("a")

    @asynccontextmanager
    async def here() -> AsyncIterator[Node]:
        async with open_node(shop.service, network=machine, host=network.host("a")) as node:
            yield node

    async with here() as one, here() as two, here() as three:
        assert [node.name for node in (one, two, three)] == [f"127.0.0.1-{port}" for port in (7979, 7980, 7981)]
        assert one.cluster == "shop"
        with trio.fail_after(5):
            for node in (one, two, three):
                await node.wait_ring(nodes=3)


@simulated
async def test_when_all_loopback_ports_are_taken_the_error_says_what_to_do(network: SimulatedNetwork) -> None:
    machine = network.at("a")
    bound = [await machine.bind(Address("127.0.0.1", port)) for port in range(7979, 7999)]
    with pytest.raises(ConfigError, match=r"listen: found '127.0.0.1:7979 to 7998'; every one .* port 0 finds one"):
        async with open_node(cluster="c", network=machine, host=network.host("a")):
            raise AssertionError("this never runs")
    for binding in bound:
        binding.close()


@simulated
async def test_a_node_whose_seeds_do_not_answer_goes_on_alone_and_finds_them_later(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service, join=["b:7979"]) as a:
        assert await a.call(shop.where, "k") == "a"
        async with node_at(network, "b", shop.service):
            with trio.fail_after(10):
                await a.wait_ring(nodes=2)


@simulated
async def test_a_node_that_is_cancelled_while_it_joins_says_farewell_to_whoever_knows_it(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a:
        network.at("hole")
        with network.isolate("hole"), trio.CancelScope() as scope:
            async with a.events() as events, trio.open_nursery() as nursery:
                nursery.start_soon(hold, node_at(network, "b", shop.service, join=["a:7979", "hole:7979"]))
                await anext(events)
                await trio.sleep(0.1)
                scope.cancel()
        await assert_nothing_bound(network, "b")
        assert {member.name: member.status for member in a.members}["b"] is Status.LEFT


@simulated
async def test_a_caller_that_is_faster_than_our_own_joining_waits_and_is_answered(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service, weight=0) as a, trio.open_nursery() as nursery:
        network.at("hole")
        with network.isolate("hole"):
            async with a.events() as events:
                nursery.start_soon(hold, node_at(network, "b", shop.service, join=["a:7979", "hole:7979"]))
                await anext(events)
            began = trio.current_time()
            assert await a.peer("b").call(shop.where) == "b"
            assert 0.5 < trio.current_time() - began < 5, "as long as the patience with the hole"
        nursery.cancel_scope.cancel()


@simulated
async def test_an_earlier_life_with_a_later_clock_met_while_joining_is_outbid(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a:
        ahead = network.host("b", skew=3600)
        async with node_at(network, "b", shop.service, join=["a"], host=ahead) as b:
            first = b.me.generation
        async with node_at(network, "b", shop.service, join=["a"]) as b:
            assert b.me.generation == first + 1
            assert await a.peer("b").call(shop.where) == "b"
            assert await b.call(shop.where, key_of(b, "a")) == "a"


@simulated
async def test_an_earlier_life_met_by_a_node_that_started_alone_is_a_conflict(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service):
        async with node_at(network, "b", shop.service, join=["a"], host=network.host("b", skew=3600)):
            pass
        with pytest.raises(NameConflict, match="the name b"):
            async with node_at(network, "b", shop.service, join=["z"]) as b:
                await b.join(["a"])
                await trio.sleep(10)
                raise AssertionError("this never runs")


@simulated
async def test_a_name_conflict_cancels_the_block_and_comes_out_bare(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service), node_at(network, "c", shop.service, join=["a"]):
        with pytest.raises(NameConflict, match="the name twin") as caught:
            async with node_at(network, "b", shop.service, name="twin", join=["a"]), trio.open_nursery() as nursery:
                rival = node_at(network, "d", shop.service, name="twin", join=["a"], host=Later("d", seed=1))
                nursery.start_soon(hold, rival)
                await trio.sleep(30)
                raise AssertionError("this never runs")
        assert caught.value.__context__ is None
        await assert_nothing_bound(network, "b")


class Later(SimulatedHost):
    def wall_ms(self) -> int:
        return super().wall_ms() + 60_000


# ---------------------------------------------------------------------------------------------------------- errors


class Mine(Exception):
    pass


@pytest.mark.parametrize("error", [Mine("x"), ExceptionGroup("two", [Mine(), ValueError()]), KeyboardInterrupt()])
@simulated
async def test_an_error_of_the_block_comes_out_as_it_is_after_a_farewell(
    network: SimulatedNetwork, error: BaseException
) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a:
        try:
            async with node_at(network, "b", shop.service, join=["a"]):
                raise error
        except BaseException as caught:  # noqa: BLE001 - whatever it is
            assert caught is error  # noqa: PT017 - KeyboardInterrupt would pass pytest.raises as an interrupt
        else:
            raise AssertionError("it was swallowed")
        assert {member.name: member.status for member in a.members}["b"] is Status.LEFT


@simulated
async def test_a_group_of_one_that_the_block_raises_stays_a_group(network: SimulatedNetwork) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with node_at(network, "a"):
            raise ExceptionGroup("mine", [Mine()])
    assert caught.value.message == "mine"


@simulated
async def test_a_loop_around_the_block_can_be_left(network: SimulatedNetwork) -> None:
    for host in "ab":
        async with node_at(network, host):
            if host == "b":
                break
    assert host == "b"


# --------------------------------------------------------------------------------------------------------- leaving


@simulated
async def test_leaving_is_seen_as_left_and_moves_the_keys(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        async with node_at(network, "c", shop.service, join=["a"]):
            await a.wait_ring(nodes=3)
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(0.3, abs=0.1), "nothing was in flight"
        for node in (a, b):
            assert {member.name: member.status for member in node.members}["c"] is Status.LEFT
            assert (await node.wait_ring(nodes=2)).nodes.keys() == {"a", "b"}
        await assert_nothing_bound(network, "c")


@simulated
async def test_who_left_comes_back_in_the_same_process_under_a_new_generation(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a:
        lives = []
        for _ in range(3):
            async with node_at(network, "b", shop.service, join=["a"]) as b:
                await a.wait_ring(nodes=2)
                lives.append(b.me.id)
                assert {await b.call(shop.where, f"k{n}") for n in range(20)} == {"a", "b"}
                await b.leave()
                with pytest.raises(NodeClosed):
                    await b.join(["a"])
            await a.wait_ring(nodes=1)
            assert [member.status for member in a.members if member.name == "b"] == [Status.LEFT]
        assert sorted({life.generation for life in lives}) == [life.generation for life in lives]
        assert len(lives) == 3


@simulated
async def test_calls_in_flight_finish_while_the_node_leaves(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), trio.open_nursery() as nursery:
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await a.peer("c").call(shop.nap_once, None, 1.5))

        async with node_at(network, "c", shop.service, join=["a"]):
            nursery.start_soon(ask)
            await shop.opened.wait()
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(1.5, abs=0.1), "as long as the call, no longer"
        await trio.sleep(0.1)
        assert answers == ["c"]


@simulated
async def test_calls_that_take_longer_than_drain_within_are_cancelled(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), trio.open_nursery() as nursery:

        async def ask() -> None:
            assert await a.call(shop.nap, key_of(a, "c"), 10.0) in {"a", "b"}

        async with node_at(network, "c", shop.service, join=["a"], drain_within=1.0):
            await a.wait_ring(nodes=3)
            nursery.start_soon(ask)
            await shop.opened.wait()
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(1, abs=0.1)
        assert shop.seen[1] == ("cancelled", pytest.approx(began + 1, abs=0.1))


@simulated
async def test_a_node_that_waits_for_no_calls_says_farewell_all_the_same(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a:
        async with node_at(network, "b", shop.service, join=["a"], drain_within=0):
            pass
        assert {member.name: member.status for member in a.members}["b"] is Status.LEFT


@simulated
async def test_a_handler_under_way_can_call_others_while_its_node_leaves(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), trio.open_nursery() as nursery:
        answers: list[list[float]] = []

        async def ask(after: float) -> None:
            answers.append(await a.peer("c").call(shop.relay, None, "k", after))

        async with node_at(network, "c", shop.service, join=["a"]):
            for after in (0.1, 0.5, 1.0):
                nursery.start_soon(ask, after)
            await trio.sleep(0.05)
        await trio.sleep(0.1)
        assert len(answers) == 3


@simulated
async def test_calls_after_leave_are_refused_and_those_under_way_go_on(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), trio.open_nursery() as nursery:
        async with node_at(network, "c", shop.service, join=["a"]) as c:
            peer = c.peer("a")
            nursery.start_soon(a.peer("c").call, shop.nap, None, 1.0)
            await shop.opened.wait()
            await c.leave()
            await c.leave()
            for call in (c.call, peer.call):
                with pytest.raises(NodeClosed, match="c has left cluster test"):
                    await call(shop.where, "k")
            with pytest.raises(NodeClosed):
                await c.cast({"cmd": "where"})
            assert not c.owns("k")
        assert shop.seen[-1] == ("ended", "c")
        with pytest.raises(NodeClosed):
            await c.request({"cmd": "where"})


@simulated
async def test_in_a_hurry_nothing_is_waited_for(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), trio.open_nursery() as nursery:
        async with node_at(network, "c", shop.service, join=["a"], profile="lan") as c:
            nursery.start_soon(ignore_its_end, a, shop)
            await shop.opened.wait()
            c.hurry()
            began = trio.current_time()
        assert trio.current_time() - began < 0.01
        nursery.cancel_scope.cancel()


@simulated
async def test_hurry_ends_a_farewell_that_is_under_way(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), trio.open_nursery() as nursery:

        async def hurry_soon(node: Node) -> None:
            await trio.sleep(0.5)
            node.hurry()

        async with node_at(network, "c", shop.service, join=["a"], profile="wan") as c:
            nursery.start_soon(ignore_its_end, a, shop)
            await shop.opened.wait()
            nursery.start_soon(hurry_soon, c)
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(0.5, abs=0.01)
        nursery.cancel_scope.cancel()


async def ignore_its_end(node: Node, shop: Shop) -> None:
    with trio.move_on_after(5):
        await node.peer("c").call(shop.nap, None, 60.0)


@simulated
async def test_a_cancelled_block_says_farewell_and_cancels_its_calls(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a:
        with trio.CancelScope() as scope:
            async with node_at(network, "b", shop.service, join=["a"]):
                began = trio.current_time()
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() - began == pytest.approx(0.3, abs=0.1)
        assert {member.name: member.status for member in a.members}["b"] is Status.LEFT


@simulated
async def test_a_stranger_that_says_no_hello_does_not_delay_leaving(network: SimulatedNetwork) -> None:
    async with node_at(network, "a"):
        stream = await network.at("stranger").connect(Address("a", PORT))
        await stream.send_all(bytes([MAGIC]))
        await trio.sleep(0.1)
        began = trio.current_time()
    assert trio.current_time() - began < 0.5
    await stream.aclose()


@simulated
async def test_a_call_to_a_leaving_node_goes_elsewhere(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), trio.open_nursery() as nursery:
        served: list[str] = []

        async def ask_all_the_time() -> None:
            for i in range(200):
                with trio.fail_after(5):
                    served.append(await a.call(shop.where, f"k{i}"))
                await trio.sleep(0.01)

        async with node_at(network, "c", shop.service, join=["a"]):
            await a.wait_ring(nodes=3)
            nursery.start_soon(ask_all_the_time)
            await trio.sleep(0.3)
    assert len(served) == 200
    assert "c" in served
    assert "c" not in served[-50:]


def test_a_killed_node_is_replaced_in_the_ring_and_its_next_life_is_another_member() -> None:
    async def main() -> None:
        shop = Shop()
        async with open_sim_cluster() as cluster:
            one, _, three = await cluster.start(3, shop.service, profile=Profile.local())
            await cluster.settled()
            three.crash()
            with trio.fail_after(5):
                await one.node.wait_ring(nodes=2)
            await three.restart()
            await cluster.settled()
            assert await one.node.call(shop.where, key_of(one.node, "n3")) == "n3"

    run_simulation(main, seed=1)


@simulated
async def test_a_lone_node_leaves_at_once(network: SimulatedNetwork) -> None:
    service = Service("s")
    seen: list[str] = []

    @service.on("work")
    async def work(request: Request) -> None:
        await trio.sleep(0.5)
        seen.append("done")

    async with node_at(network, "a", service) as a:
        began = trio.current_time()
    assert trio.current_time() - began == 0
    async with node_at(network, "a", service) as a:
        await a.cast({"cmd": "work", "key": "k"})
        await trio.sleep(0.1)
    assert seen == ["done"], "after the calls it handles"
    assert Draining.default_maybe_executed is False
