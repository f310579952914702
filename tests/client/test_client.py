"""The contract of the client, the same on asyncio and on Trio, against nodes that are made of a mux session each."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from swimring.client import connect
from swimring.errors import (
    ConfigError,
    ConnectionLost,
    Draining,
    HandlerFailed,
    InvalidRequest,
    Moved,
    NodeClosed,
    NoSuchHandler,
    NotJoined,
    Unreachable,
)
from swimring.identity import Address
from swimring.mux import ANY_CLUSTER, CLIENT, cluster_digest
from swimring.ring import HashRing, ring_seed
from swimring.service import Request, Service
from swimring.swim import Status

from .tiny import Heard, TinyNode, tiny_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ASK = {"ns": "hello", "cmd": "greet"}
KEYS = [f"k{number}" for number in range(32)]

app = Service("hello")


@app.on("greet", idempotent=True)
async def greet(request: Request, name: str, *, excited: bool = False) -> str:
    return f"hello {name}{'!' * excited}"


@asynccontextmanager
async def other_server(greeting: bytes) -> AsyncIterator[Address]:
    """Somebody who speaks first, or not at all, and not our language."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            if greeting:
                await stream.send(greeting)
            await anyio.sleep_forever()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield Address("127.0.0.1", listener.extra(SocketAttribute.local_port))
        tasks.cancel_scope.cancel()


async def never(heard: Heard) -> object:
    await anyio.sleep_forever()
    raise AssertionError


def key_of(node: TinyNode, *others: TinyNode) -> str:
    """A key that ``node`` owns among these."""
    weights = {one.name: one.member.metadata.weight for one in (node, *others)}
    ring = HashRing.build(weights, seed=ring_seed(node.cluster.name))
    return next(key for key in KEYS if ring.lookup(key) == node.name)


# ------------------------------------------------------------------------------------------------------- connecting


async def test_a_client_learns_members_and_services_from_the_node_it_is_given() -> None:
    async with tiny_cluster() as cluster:
        first = await cluster.start("a")
        await cluster.start("b", "hello", "kv")
        async with connect(str(first.address)) as mesh:
            assert mesh.cluster == "hello"
            assert [member.name for member in mesh.members] == ["a", "b"]
            assert mesh.services == ("hello", "kv")


async def test_a_client_says_that_it_is_one_and_names_the_cluster_as_soon_as_it_knows_it() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        async with connect(first.address) as mesh:
            await mesh.request({**ASK, "key": key_of(second, first)})
        hellos = [first.hellos[0], second.hellos[0]]
        assert [hello.features for hello in hellos] == [(CLIENT,), (CLIENT,)]
        assert [hello.cluster for hello in hellos] == [ANY_CLUSTER, cluster_digest("hello")]
        assert hellos[0].node == hellos[1].node


async def test_any_of_several_addresses_will_do() -> None:
    async with tiny_cluster() as cluster:
        gone, there = await cluster.start("gone", joined=False), await cluster.start("there")
        await gone.kill()
        async with connect(gone.address, there.address) as mesh:
            assert mesh.cluster == "hello"


async def test_nobody_at_the_given_address_is_not_joined_and_says_why() -> None:
    async with tiny_cluster() as cluster:
        gone = await cluster.start("gone")
        await gone.kill()
        with pytest.raises(NotJoined, match=rf"{gone.address} \(connection refused\)"):
            async with connect(gone.address):
                pass


async def test_a_node_of_another_cluster_than_the_named_one_is_a_config_error_that_names_it() -> None:
    async with tiny_cluster("there") as cluster:
        node = await cluster.start("a")
        with pytest.raises(ConfigError, match="belong to: there"):
            async with connect(node.address, cluster="wanted"):
                pass


async def test_something_that_is_no_node_is_not_joined() -> None:
    async with tiny_cluster(), other_server(b"SSH-2.0\r\n") as address:
        with pytest.raises(NotJoined, match="no hello of a node: byte 0 is 0x53"):
            async with connect(address):
                pass


async def test_without_an_address_the_ports_of_this_machine_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tiny_cluster() as cluster:
        nodes = [await cluster.start(name) for name in "abc"]
        monkeypatch.setattr("swimring.client.connecting.SCANNED", tuple(node.address for node in nodes))
        async with connect() as mesh:
            assert mesh.cluster == "hello"


async def test_several_clusters_on_this_machine_need_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tiny_cluster("one") as one, tiny_cluster("two") as two:
        # The names of nodes are unique in a cluster only.
        nodes = [await one.start("a"), await two.start("a")]
        monkeypatch.setattr("swimring.client.connecting.SCANNED", tuple(node.address for node in nodes))
        with pytest.raises(ConfigError, match="several answer, name one of: one, two"):
            async with connect():
                pass
        for cluster in ("one", "two"):
            async with connect(cluster=cluster) as mesh:
                assert mesh.cluster == cluster


async def test_a_silent_port_does_not_hold_up_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tiny_cluster() as cluster, other_server(b"") as mute:
        node = await cluster.start("a")
        monkeypatch.setattr("swimring.client.connecting.SCANNED", (mute, node.address))
        monkeypatch.setattr("swimring.client.connecting.SCAN_WITHIN", 0.1)
        async with connect() as mesh:
            assert mesh.cluster == "hello"


async def test_nobody_on_this_machine_is_not_joined_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tiny_cluster() as cluster:
        gone = await cluster.start("gone")
        await gone.kill()
        monkeypatch.setattr("swimring.client.connecting.SCANNED", (gone.address,))
        with pytest.raises(NotJoined, match="start one \\(swimring run"):
            async with connect():
                pass


@pytest.mark.parametrize("wrong", ["127.0.0.1:", "127.0.0.1:99999", ""])
async def test_what_is_no_address_is_a_config_error(wrong: str) -> None:
    with pytest.raises(ConfigError):
        async with connect(wrong):
            pass


# ---------------------------------------------------------------------------------------------------------- routing


async def test_each_call_goes_straight_to_the_owner_of_its_key() -> None:
    async with tiny_cluster() as cluster:
        nodes = [await cluster.start(name, weight=weight) for name, weight in (("a", 1), ("b", 2), ("c", 1))]
        ring = HashRing.build({"a": 1, "b": 2, "c": 1}, seed=ring_seed("hello"))
        async with connect(nodes[0].address) as mesh:
            for key in KEYS:
                assert await mesh.request({**ASK, "key": key}) == ring.lookup(key) == mesh.lookup(key).name
                assert [member.name for member in mesh.replicas(key, 2)] == list(ring.replicas(key, 2))
        assert sum(len(node.calls) for node in nodes) == len(KEYS)
        assert {call.header.hops for node in nodes for call in node.calls} == {0}


async def test_an_endpoint_is_called_with_its_own_types_and_idempotency() -> None:
    async def run(heard: Heard) -> object:
        assert heard.header.idempotent
        return await greet(Request(node=None), heard.message["name"], excited=heard.message["excited"])  # type: ignore[arg-type]  # no node here

    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=run)
        async with connect(node.address) as mesh:
            assert await mesh.call(greet, "k1", "World", excited=True) == "hello World!"
            with pytest.raises(InvalidRequest, match="name"):
                await mesh.call(greet, "k1", 5)  # type: ignore[arg-type]


async def test_calls_without_a_key_go_round_the_members_that_offer_the_service() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        await cluster.start("b")
        await cluster.start("c", "other")
        async with connect(node.address) as mesh:
            assert {await mesh.request(ASK) for _ in range(6)} == {"a", "b"}


async def test_a_member_of_weight_0_answers_calls_without_a_key_only_if_nobody_else_does() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a", weight=0)
        async with connect(node.address) as mesh:
            assert await mesh.request(ASK) == "a"
            with pytest.raises(Unreachable, match="no member takes keys"), anyio.fail_after(0.1):
                await mesh.request({**ASK, "key": "k"})
            with pytest.raises(Unreachable, match="no member takes keys"):
                mesh.lookup("k")
            await cluster.start("b")
            assert await mesh.request({**ASK, "key": "k"}) == "b"
            assert {await mesh.request(ASK) for _ in range(4)} == {"b"}


async def test_the_namespace_swimring_is_answered_by_the_node_the_client_is_connected_to() -> None:
    async with tiny_cluster() as cluster:
        nodes = [await cluster.start(name) for name in "abc"]
        async with connect(nodes[1].address) as mesh:
            names = [await mesh.request({"ns": "swimring", "cmd": "name", "key": key}) for key in KEYS]
            assert set(names) == {"b"}
            await nodes[1].kill()
            cluster.bury(nodes[1])
            assert await mesh.request({"ns": "swimring", "cmd": "name"}, idempotent=True) in {"a", "c"}


async def test_a_service_that_nobody_offers_is_refused_with_the_names_of_those_there_are() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a", "hello", "kv")
        async with connect(node.address) as mesh:
            with pytest.raises(NoSuchHandler, match="'chat'; offered: hello, kv"):
                await mesh.request({"ns": "chat", "cmd": "say"})
            with pytest.raises(NoSuchHandler, match="names no service"):
                await mesh.request({"cmd": "say"})
            with pytest.raises(NoSuchHandler, match="'chat'; offered: hello, kv"):
                mesh.lookup("k", "chat")
            with pytest.raises(ConfigError, match="name one of: hello, kv"):
                mesh.lookup("k")


async def test_a_service_that_appeared_after_connecting_is_found() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        async with connect(node.address) as mesh:
            await cluster.start("late", "chat")
            assert await mesh.request({"ns": "chat", "cmd": "say", "key": "k"}) == "late"


@pytest.mark.parametrize(
    "message", [5, {1: 2}, {"ns": 5}, {"ns": "hello", "key": 5}, {"ns": "hello", "key": "x" * 2000}, {"ns": None}]
)
async def test_what_is_no_message_is_refused_before_it_is_sent(message: object) -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        async with connect(node.address) as mesh:
            with pytest.raises(InvalidRequest):
                await mesh.request(message)  # type: ignore[arg-type]
        assert not node.calls


# ---------------------------------------------------------------------------------------------- refusals and losses


async def test_a_moved_answer_is_followed_with_the_records_it_carries() -> None:
    async with tiny_cluster() as cluster:
        old = await cluster.start("a")
        async with connect(old.address) as mesh:
            new = await cluster.start("b")

            async def refuse(heard: Heard) -> object:
                raise Moved("b does", records=(new.member.to_wire(), old.member.to_wire()))

            old.handler = refuse
            asked = old.ring_asked
            assert await mesh.request({**ASK, "key": key_of(new, old)}) == "b"
            assert old.ring_asked + new.ring_asked == asked
            assert new.calls[0].header.hops == 1
            assert new.calls[0].header.attempt == 1


async def test_records_that_are_none_do_no_harm() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        answers = iter([Moved("not me", records=(["nonsense"],))])

        async def refuse_once(heard: Heard) -> object:
            for error in answers:
                raise error
            return "yes"

        node.handler = refuse_once
        async with connect(node.address) as mesh:
            assert await mesh.request({**ASK, "key": "k"}) == "yes"


async def test_a_dead_owner_is_replaced_as_soon_as_another_node_knows() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        key = key_of(second, first)
        async with connect(first.address) as mesh:
            await second.kill()
            cluster.bury(second)
            assert await mesh.request({**ASK, "key": key}) == "a"
            assert mesh.lookup(key).name == "a"
            assert [(member.name, member.status) for member in mesh.members] == [
                ("a", Status.ALIVE),
                ("b", Status.DEAD),
            ]


async def test_the_node_it_was_given_may_die_too() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        key = key_of(first, second)
        async with connect(first.address) as mesh:
            await first.kill()
            cluster.bury(first)
            assert await mesh.request({**ASK, "key": key}) == "b"


async def test_a_call_waits_for_a_new_owner_until_its_deadline_and_then_says_why() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        key = key_of(second, first)
        async with connect(first.address) as mesh:
            await second.kill()
            with (
                pytest.raises(Unreachable, match=r"cannot reach b .*connection refused") as caught,
                anyio.fail_after(0.3),
            ):
                await mesh.request({**ASK, "key": key})
            assert (caught.value.key, caught.value.owner, caught.value.maybe_executed) == (key, "b", False)


async def test_nodes_are_told_whom_the_client_cannot_reach_so_that_they_look_after_it() -> None:
    async with tiny_cluster() as cluster:
        first, second, third = [await cluster.start(name) for name in "abc"]
        async with connect(first.address) as mesh:
            await second.kill()
            with pytest.raises(Unreachable), anyio.fail_after(0.1):
                await mesh.request({**ASK, "key": key_of(second, first, third)})
            assert {*first.told_lost, *third.told_lost} == {"b"}


async def test_a_connection_lost_under_a_call_is_an_error_that_says_it_may_have_run() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")

        async def die(heard: Heard) -> object:
            second.crash()
            cluster.bury(second)
            return await never(heard)

        second.handler = die
        async with connect(first.address) as mesh:
            with pytest.raises(ConnectionLost) as caught:
                await mesh.request({**ASK, "key": key_of(second, first)})
            assert caught.value.maybe_executed
            assert caught.value.owner == "b"
        assert not first.calls


async def test_a_connection_lost_under_an_idempotent_call_sends_it_to_the_next_owner() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")

        async def die(heard: Heard) -> object:
            second.crash()
            cluster.bury(second)
            return await never(heard)

        second.handler = die
        async with connect(first.address) as mesh:
            assert await mesh.request({**ASK, "key": key_of(second, first)}, idempotent=True) == "a"


async def test_a_call_that_may_have_run_in_an_earlier_attempt_says_so_in_the_end() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")

        async def die(heard: Heard) -> object:
            second.crash()
            return await never(heard)

        second.handler = die
        async with connect(first.address) as mesh:
            with pytest.raises(Unreachable) as caught, anyio.fail_after(0.3):
                await mesh.request({**ASK, "key": key_of(second, first)}, idempotent=True)
            assert caught.value.maybe_executed


async def test_calls_that_a_draining_node_did_not_accept_go_to_the_next_owner() -> None:
    async with tiny_cluster() as cluster:
        first, second = await cluster.start("a"), await cluster.start("b")
        key = key_of(second, first)
        async with connect(first.address) as mesh:
            assert await mesh.request({**ASK, "key": key}) == "b"
            cluster.bury(second, Status.LEFT)
            await second.drain()
            assert await mesh.request({**ASK, "key": key}) == "a"


async def test_refusals_are_retried_until_the_deadline() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")

        async def refuse(heard: Heard) -> object:
            raise Draining("in a moment")

        node.handler = refuse
        async with connect(node.address) as mesh:
            with pytest.raises(Draining, match="in a moment"), anyio.fail_after(0.2):
                await mesh.request({**ASK, "key": "k"})
        assert len(node.calls) > 2


async def test_an_error_of_the_handler_is_not_retried_and_comes_bare() -> None:
    async def fail(heard: Heard) -> object:
        raise HandlerFailed(type_name="ValueError", message="no")

    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=fail)
        with pytest.raises(HandlerFailed, match="ValueError: no"):
            async with connect(node.address) as mesh:
                await mesh.request({**ASK, "key": "k"}, idempotent=True)
        assert len(node.calls) == 1


async def test_nonsense_from_a_node_ends_the_connection_and_the_next_call_makes_another() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=never)
        async with connect(node.address) as mesh:
            async with anyio.create_task_group() as tasks:

                async def lose() -> None:
                    with pytest.raises(ConnectionLost):
                        await mesh.request({**ASK, "key": "k"})

                tasks.start_soon(lose)
                await node.wait_called()
                await node.send_nonsense()
            node.handler = who_asks
            assert await mesh.request({**ASK, "key": "k"}) == "again"


async def who_asks(heard: Heard) -> object:
    return "again"


# ------------------------------------------------------------------------------------------ deadlines, cancellation


async def test_the_deadline_of_the_scope_travels_with_the_call() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        async with connect(node.address) as mesh:
            with anyio.fail_after(5):
                await mesh.request({**ASK, "key": "k"})
        assert 4 < node.calls[0].header.remaining <= 5


async def test_a_cancelled_call_is_cancelled_on_the_node_before_its_scope_ends() -> None:
    ended = []

    async def wait(heard: Heard) -> object:
        try:
            return await never(heard)
        finally:
            ended.append(heard.node.name)

    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=wait)
        async with connect(node.address) as mesh:
            with anyio.move_on_after(0.05) as scope:
                await mesh.request({**ASK, "key": "k"})
            assert scope.cancelled_caught
            assert ended == ["a"]


async def test_a_node_that_does_not_confirm_a_cancel_is_waited_for_a_moment_only() -> None:
    async def stubborn(heard: Heard) -> object:
        with anyio.CancelScope(shield=True):
            await stop.wait()
        return "late"

    stop = anyio.Event()
    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=stubborn)
        async with connect(node.address) as mesh:
            began = anyio.current_time()
            with anyio.move_on_after(0.05):
                await mesh.request({**ASK, "key": "k"})
            assert anyio.current_time() - began < 2
            stop.set()
            node.handler = who_asks
            assert await mesh.request({**ASK, "key": "k"}) == "again"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_timeout_and_the_cancellation_of_asyncio_cancel_the_handler_too(anyio_backend_name: str) -> None:
    ended: list[object] = []

    async def wait(heard: Heard) -> object:
        try:
            return await never(heard)
        finally:
            ended.append(heard.message["key"])

    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=wait)
        async with connect(node.address) as mesh:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await mesh.request({**ASK, "key": "timeout"})
            assert ended == ["timeout"]
            asking = asyncio.create_task(mesh.request({**ASK, "key": "cancel"}))
            await asyncio.sleep(0.05)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert ended == ["timeout", "cancel"]


# ---------------------------------------------------------------------------------------------- the end of the block


async def test_what_the_body_raises_comes_out_as_it_is() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        lone = ExceptionGroup("of the body", [ValueError("one")])
        for error in (ValueError("no"), lone, KeyboardInterrupt(), SystemExit(3)):
            with pytest.raises(type(error)) as caught:
                async with connect(node.address):
                    raise error
            assert caught.value is error


async def test_a_cancelled_body_is_cancelled_and_nothing_else() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        with anyio.CancelScope() as scope:
            async with connect(node.address):
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught


async def test_a_cast_is_on_its_way_when_the_block_is_left() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        async with connect(node.address) as mesh:
            for number in range(100):
                await mesh.cast({**ASK, "number": number})
        assert sorted(call.message["number"] for call in node.calls) == list(range(100))


async def test_after_the_block_nothing_can_be_asked() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        async with connect(node.address) as mesh:
            pass
        with pytest.raises(NodeClosed, match="left"):
            await mesh.request({**ASK, "key": "k"})
        with pytest.raises(NodeClosed):
            await mesh.cast(ASK)


async def test_leaving_the_block_closes_every_connection() -> None:
    async with tiny_cluster() as cluster:
        nodes = [await cluster.start(name) for name in "abc"]
        async with connect(nodes[0].address) as mesh:
            for key in KEYS:
                await mesh.request({**ASK, "key": key})
            assert [node.connections for node in nodes] == [1, 1, 1]
            assert repr(mesh) == "<Mesh of hello: 3 members, 3 connections>"
        for node in nodes:
            await node.wait_unconnected()


# -------------------------------------------------------------------------------------------------------------- load


async def test_many_calls_at_once_share_one_connection_per_node() -> None:
    async with tiny_cluster() as cluster:
        nodes = [await cluster.start(name) for name in "ab"]
        answers: list[object] = []
        async with connect(nodes[0].address) as mesh:

            async def ask(key: str) -> None:
                answers.append(await mesh.request({**ASK, "key": key}))

            async with anyio.create_task_group() as tasks:
                for number in range(300):
                    tasks.start_soon(ask, f"key-{number}")
        assert len(answers) == 300
        assert [len(node.hellos) for node in nodes] == [1, 1]


async def test_large_messages_wait_for_credit_and_all_arrive() -> None:
    async def echo(heard: Heard) -> object:
        return heard.message["data"]

    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=echo)
        async with connect(node.address) as mesh:
            sizes: list[int] = []

            async def ask(size: int) -> None:
                sizes.append(len(await mesh.request({**ASK, "key": "k", "data": b"x" * size})))

            async with anyio.create_task_group() as tasks:
                for size in (900_000, 10) * 8:
                    tasks.start_soon(ask, size)
            assert sorted(sizes) == [10] * 8 + [900_000] * 8
