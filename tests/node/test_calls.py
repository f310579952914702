"""What a program asks of a node: calls, streams, the ring, the members."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import (
    ConfigError,
    ConnectionLost,
    HandlerFailed,
    InvalidRequest,
    NodeClosed,
    NoSuchHandler,
    NotJoined,
    Unreachable,
)
from swimring.identity import Address
from swimring.ownership import RangesLost
from swimring.service import Request, Service
from swimring.swim import MemberJoined, MemberLeft, Status
from swimring.testing import open_sim_cluster, run_simulation

from .nodes import PORT, Recorder, Shop, key_of, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.testing import SimNode, SimulatedNetwork


# ------------------------------------------------------------------------------------------------------- calling


@simulated
async def test_every_node_finds_the_owner_of_every_key(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as nodes:
        for node in nodes:
            for i in range(20):
                assert await node.call(shop.where, f"k{i}") == nodes[0].lookup(f"k{i}").name


@simulated
async def test_a_call_is_typed_and_a_request_is_the_same_by_message(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        key = key_of(a, "b")
        assert await a.call(shop.add, key, 2, b=3) == 5
        assert await a.request({"ns": "shop", "cmd": "add", "key": key, "a": 2}) == 3
        assert await b.request({"cmd": "add", "key": key, "a": 2}) == 3, "without ns the node's only service is meant"


@simulated
async def test_a_call_without_a_key_is_answered_here_or_by_whoever_offers_the_service(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as nodes, node_at(network, "d", join=["a"]) as asker:
        for node in nodes:
            assert await node.call(shop.where) == node.name
        await asker.wait_ring("shop", nodes=3)
        assert {await asker.call(shop.where) for _ in range(6)} == {"a", "b", "c"}, "in turn"


@simulated
async def test_a_call_takes_the_same_keys_as_a_request(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        for key in (5, "k" * 1025, "\ud800"):
            for caller in (a, a.peer(b.name)):
                with pytest.raises(InvalidRequest, match="key"):
                    await caller.call(shop.where, key)  # type: ignore[arg-type]  # the type checker knows it, too


@simulated
async def test_a_refusal_that_a_handler_met_and_let_through_is_not_repeated(network: SimulatedNetwork) -> None:
    relay = Service("relay")
    runs = 0

    @relay.on("ask", idempotent=True)
    async def ask(request: Request) -> None:
        nonlocal runs
        runs += 1
        raise Unreachable("somebody else", owner="far away")

    async with nodes_at(network, "ab", relay) as (a, _):
        for name in "ab":
            runs = 0
            with pytest.raises(Unreachable, match="somebody else") as caught, trio.fail_after(60):
                await a.call(ask, key_of(a, name))
            assert (caught.value.maybe_executed, runs) == (True, 1)


@simulated
async def test_a_cast_arrives_and_nobody_answers(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        assert await a.cast({"cmd": "nap", "key": key_of(a, "b"), "seconds": 0.0}) is None  # type: ignore[func-returns-value] # that is the rule
        await shop.opened.wait()
        assert shop.seen[0] == ("began", "b")


@simulated
async def test_streams_go_both_ways_inside_a_call(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        for key in (key_of(a, "a"), key_of(a, "b")):
            async with a.open(shop.shout.with_streams(text=b"hello"), key) as call:
                assert b"".join([chunk async for chunk in call.streams["text"]]) == b"HELLO"
                assert await call.result() == 5


@simulated
async def test_a_peer_is_asked_whatever_the_ring_says(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as (a, *_):
        of_b = key_of(a, "b")
        assert repr(a.peer("c")) == "<NodePeer c>"
        for name in "abc":
            peer = a.peer(name)
            assert await peer.call(shop.where, of_b) == name
            assert await peer.request({"ns": "shop", "cmd": "where", "key": of_b}) == name
            async with peer.open(shop.shout.with_streams(text=b"x"), of_b) as call:
                assert await call.result() == 1
        await a.peer("c").cast({"ns": "shop", "cmd": "nap", "key": of_b, "seconds": 0})
        await shop.opened.wait()
        assert shop.seen[0] == ("began", "c")
        with pytest.raises(Unreachable, match="no member named 'z' is here"):
            a.peer("z")


@simulated
async def test_a_node_without_services_asks_and_owns_nothing(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _), node_at(network, "d", join=["a"], weight=0) as asker:
        await asker.wait_ring("shop", nodes=2)
        assert await asker.call(shop.where, key_of(asker, "b")) == "b"
        assert await asker.request({"cmd": "where", "key": "k"}) in {"a", "b"}, (
            "the only service of the cluster is meant"
        )
        assert not any(asker.owns(f"k{i}") for i in range(50))
        assert a.ring("shop").nodes.keys() == {"a", "b"}
        assert a.peer("d").name == "d"


@simulated
async def test_a_service_offered_at_weight_zero_answers_without_a_key_and_owns_none(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service, weight=0) as (a, b):
        await trio.sleep(1)
        assert await a.call(shop.where) == "a"
        assert len(b.ring()) == 0
        with pytest.raises(Unreachable, match="takes keys"):
            b.lookup("k")
        with pytest.raises(Unreachable, match="no member takes keys of service 'shop'"), trio.fail_after(1):
            await b.call(shop.where, "k")


@simulated
async def test_each_service_has_a_ring_of_the_members_that_offer_it(network: SimulatedNetwork) -> None:
    kv, cache = Shop("kv"), Shop("cache")
    async with (
        node_at(network, "a", kv.service) as a,
        node_at(network, "b", cache.service, join=["a"]) as b,
        node_at(network, "c", kv.service, cache.service, join=["a"]) as c,
    ):
        for node in (a, b, c):
            assert (await node.wait_ring(kv.service, nodes=2)).nodes.keys() == {"a", "c"}
            assert (await node.wait_ring("cache", nodes=2)).nodes.keys() == {"b", "c"}
        for i in range(20):
            assert await a.call(cache.where, f"k{i}") in {"b", "c"}
            assert await b.call(kv.where, f"k{i}") == c.lookup(f"k{i}", service=kv.service).name
        assert a.lookup("k").name in {"a", "c"}, "without a name the node's own service is meant"
        with pytest.raises(ConfigError, match="service: not set; say which service is meant; offered: cache, kv"):
            c.lookup("k")
        with pytest.raises(ConfigError, match="say which service is meant"):
            await c.request({"cmd": "where", "key": "k"})


# -------------------------------------------------------------------------------------------------- failing calls


@simulated
async def test_a_failed_handler_tells_type_text_and_frames(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        for owner in "ab":
            key = key_of(a, owner)
            with pytest.raises(HandlerFailed) as caught:
                await a.call(shop.fail, key, "by zero")
            error = caught.value
            assert (error.type_name, error.message) == ("ZeroDivisionError", "by zero")
            assert error.frames.splitlines()[-1].endswith(" in fail")
            assert (error.owner, error.key, error.maybe_executed) == (owner, key, True)


@simulated
async def test_an_unknown_command_names_the_nearest_pattern(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        for owner in "ab":
            with pytest.raises(NoSuchHandler, match=r"no handler for ns 'shop', cmd 'were'; nearest is ") as caught:
                await a.request({"cmd": "were", "key": key_of(a, owner)})
            assert not caught.value.maybe_executed
        with pytest.raises(NoSuchHandler, match="no member offers service 'shopp'; offered: shop"):
            await a.request({"ns": "shopp", "cmd": "where", "key": "k"})
        with pytest.raises(NoSuchHandler, match="no member offers service 'shopp'"):
            a.lookup("k", service="shopp")


@simulated
async def test_arguments_that_do_not_fit_are_named_on_either_side(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        with pytest.raises(InvalidRequest, match="b:"):
            await a.call(shop.add, "k", 1, b="two")  # type: ignore[arg-type] # the mistake under test
        for owner in "ab":
            with pytest.raises(InvalidRequest, match=r"shop:add: .*a") as caught:
                await a.request({"cmd": "add", "key": key_of(a, owner), "a": "one"})
            assert caught.value.owner == owner
        with pytest.raises(InvalidRequest, match="the key of a message is str or bytes, not int"):
            await a.request({"cmd": "add", "key": 7, "a": 1})


@simulated
async def test_the_deadline_travels_and_ends_the_handler_on_the_owner(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        key = key_of(a, "b")
        with trio.fail_after(3):
            told, effective = await a.call(shop.deadline, key)
        assert 2.9 < told <= effective <= 3
        assert (await a.call(shop.deadline, key))[1] == math.inf
        began = trio.current_time()
        with pytest.raises(trio.TooSlowError), trio.fail_after(2):
            await a.call(shop.nap, key, 60.0)
        assert trio.current_time() - began == pytest.approx(2, abs=0.3)
        await trio.sleep(1)
        assert shop.seen[-1] == ("cancelled", pytest.approx(began + 2, abs=0.1))


@simulated
async def test_cancellation_travels(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.call, shop.nap, key_of(a, "b"), 60.0)
            await shop.opened.wait()
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 0.1
        assert shop.seen[-1] == ("cancelled", pytest.approx(began, abs=0.1))


@simulated
async def test_a_call_from_inside_a_handler_inherits_its_deadline(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as (a, *_):
        by_b, by_c = key_of(a, "b"), key_of(a, "c")
        with trio.fail_after(3):
            told, effective = await a.call(shop.relay, by_b, by_c, 1.0)
        assert told == pytest.approx(2, abs=0.1)
        assert effective == pytest.approx(2, abs=0.1)


# ------------------------------------------------------------------------------------------- the ring and its changes


@simulated
async def test_lookup_replicas_owns_and_ring_agree(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service) as nodes:
        a = nodes[0]
        for key in ("k", b"k", "other"):
            owner, replicas = a.lookup(key), a.replicas(key, 2)
            assert {owner.name, *(each.name for each in replicas)} == {"a", "b", "c"}
            assert [node.name for node in nodes if node.owns(key)] == [owner.name]
            assert a.ring().lookup(key) == owner.name
        assert len(a.replicas("k", 9)) == 2
        assert a.replicas("k", 0) == ()
        with pytest.raises(ConfigError, match="1024 bytes"):
            a.lookup("k" * 1025)


@simulated
async def test_an_owner_that_is_wrong_says_who_is_right_and_the_call_follows(network: SimulatedNetwork) -> None:
    shop, recorder = Shop(), Recorder()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        async with node_at(network, "d", join=["a"], instruments=[recorder]) as asker:
            await asker.wait_ring("shop", nodes=2)
            with network.partition("d", ["a", "b"]):
                pass
            # The asker's ring is frozen at two nodes: its view hears nothing of the third.
            asker._gossiper._beliefs.listeners.close()
            async with node_at(network, "c", shop.service, join=["a"]) as c:
                await a.wait_ring(nodes=3)
                key = key_of(c, "c")
                assert asker.lookup(key).name != "c"
                assert await asker.call(shop.where, key) == "c"
                assert recorder.retried == ["Moved"]
                assert asker.lookup(key).name == "c", "the asker has learnt it"
                assert await asker.call(shop.where, key_of(c, "a")) == "a"
                assert recorder.retried == ["Moved"]


def test_an_idempotent_call_is_repeated_when_its_owner_crashes() -> None:
    async def main() -> None:
        shop = Shop()
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            one, _, victim = await cluster.start(3, shop.service)
            await cluster.settled()
            nursery.start_soon(crash_when, shop.opened, victim)
            answer = await one.node.call(shop.nap, key_of(one.node, victim.name), 1.0)
            assert answer in {"n1", "n2"}
            assert [name for what, name in shop.seen if what == "began"] == ["n3", answer]
            assert one.node.counters()["retries"] >= 1

    run_simulation(main, seed=1)


def test_another_call_is_not_repeated_and_says_that_it_may_have_run() -> None:
    async def main() -> None:
        shop = Shop()
        async with open_sim_cluster() as cluster, trio.open_nursery() as nursery:
            one, _, victim = await cluster.start(3, shop.service)
            await cluster.settled()
            key = key_of(one.node, victim.name)
            nursery.start_soon(crash_when, shop.opened, victim)
            with pytest.raises(ConnectionLost) as caught:
                await one.node.call(shop.nap_once, key, 1.0)
            assert caught.value.maybe_executed
            assert (caught.value.owner, caught.value.key) == ("n3", key)
            assert [name for what, name in shop.seen if what == "began"] == ["n3"]
            assert await one.node.call(shop.nap_once, key, 0.0) in {"n1", "n2"}, "a new call goes to the new owner"

    run_simulation(main, seed=1)


async def crash_when(event: trio.Event, victim: SimNode) -> None:
    await event.wait()
    victim.crash()


@simulated
async def test_a_new_member_and_its_end_are_events_and_move_the_ring(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service) as a, a.events() as events:
        async with node_at(network, "b", shop.service, join=["a"]):
            joined = await anext(events)
            assert isinstance(joined, MemberJoined)
            assert joined.member.name == "b"
            assert await a.peer("b").call(shop.where) == "b", "at once, before the ring is published"
            await a.wait_ring(nodes=2)
            lost = await anext(events)
            assert isinstance(lost, RangesLost)
        left = await anext(events)
        assert isinstance(left, MemberLeft)
        assert {member.name: member.status for member in a.members} == {"a": Status.ALIVE, "b": Status.LEFT}
        assert (await a.wait_ring(nodes=1)).nodes.keys() == {"a"}


@simulated
async def test_join_says_how_many_answered_and_raises_when_nobody_did(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with (
        node_at(network, "a", shop.service) as a,
        node_at(network, "b", shop.service) as b,
        node_at(network, "z", shop.service, cluster="other"),
    ):
        assert await b.join(["a:7979"]) == 1
        assert b.ring().nodes.keys() == {"a", "b"}, "known at once, not after a pause"
        assert await a.join([Address("b", PORT), "nobody:7979"]) == 1
        with pytest.raises(NotJoined, match="no member of cluster test answered at z:7979, b:1"):
            await a.join(["z", "b:1"])
        with pytest.raises(NotJoined, match="no address"):
            await a.join([])
        with pytest.raises(NotJoined):
            await a.join(["a:7979"])
        with pytest.raises(ConfigError, match=r"addresses: found 'b:7979'; give a list"):
            await a.join("b:7979")
        with pytest.raises(ConfigError, match=r"addresses: found 'b:x'"):
            await a.join(["b:x"])
        await a.leave()
        with pytest.raises(NodeClosed):
            await a.join(["b"])


@simulated
async def test_the_ring_follows_gossip_after_a_join_by_hand(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service), node_at(network, "b", shop.service) as b:
        await b.join(["a"])
        async with node_at(network, "c", shop.service, join=["a"]):
            with trio.fail_after(10):
                await b.wait_ring(nodes=3)


@simulated
async def test_a_node_tells_who_it_is(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service, zone="z1", tags={"rack": "7"}, weight=3, points=64) as a:
        assert (a.name, a.cluster, a.points) == ("a", "test", 64)
        assert a.me.address == Address("a", PORT)
        assert (a.me.metadata.zone, a.me.metadata.weight, dict(a.me.metadata.tags)) == ("z1", 3, {"rack": "7"})
        assert repr(a) == "<Node a in test, running, 1 members>"
        await a.leave()
        assert repr(a).startswith("<Node a in test, left")
    async with node_at(network, "b", shop.service, name=None) as b:
        assert b.name == "b-7979"


@simulated
async def test_counters_count_calls_retries_failures_and_what_was_handled(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        key = key_of(a, "b")
        await a.call(shop.add, key, 1)
        with pytest.raises(HandlerFailed):
            await a.call(shop.fail, key, "x")
        with trio.move_on_after(0.5):
            await a.call(shop.nap, key, 5.0)
        await trio.sleep(1)
        assert a.counters() == {"calls": 3, "retries": 0, "failed": 1, "handled": 0, "refused": 0}
        assert b.counters() == {"calls": 0, "retries": 0, "failed": 0, "handled": 3, "refused": 0}


@simulated
async def test_what_has_a_handler_at_call_time_is_what_was_registered_when_the_node_opened(
    network: SimulatedNetwork,
) -> None:
    service = Service("late")

    @service.on("early")
    async def early(request: Request) -> float:
        return math.pi

    async with node_at(network, "a", service) as a:

        @service.on("late")
        async def late(request: Request) -> None: ...

        assert await a.call(early, "k") == math.pi
        with pytest.raises(NoSuchHandler, match="nearest is"):
            await a.call(late, "k")
