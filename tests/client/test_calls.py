"""Where calls go, their deadlines and their cancellation, the same on asyncio and on Trio."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from swimring.client import connect
from swimring.errors import (
    ConfigError,
    InvalidRequest,
    NoSuchHandler,
    Unreachable,
)
from swimring.policies import RetryPolicy
from swimring.ring import HashRing, ring_seed
from swimring.service import Request, Service

from .tiny import ASK, KEYS, Heard, again, never, tiny_cluster

pytestmark = pytest.mark.anyio


app = Service("hello")


@app.on("greet", idempotent=True)
async def greet(request: Request, name: str, *, excited: bool = False) -> str:
    return f"hello {name}{'!' * excited}"


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
            mesh._routing._policy = RetryPolicy(reserve=1.5)  # this clock is real: no machine is so late
            with pytest.raises(Unreachable, match="no member takes keys"), anyio.fail_after(2):
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


@pytest.mark.parametrize("late", [False, True])
async def test_the_node_is_told_whether_the_deadline_passed_or_the_caller_was_cancelled(*, late: bool) -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a", handler=never)
        async with connect(node.address) as mesh, anyio.create_task_group() as tasks:
            with anyio.move_on_after(0.05 if late else 100) as scope:

                async def give_up() -> None:
                    await node.wait_called()
                    scope.cancel()

                if not late:
                    tasks.start_soon(give_up)
                await mesh.request({**ASK, "key": "k"})
        assert node.cancels[:1] == ["the deadline passed" if late else "the caller was cancelled"]


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
            node.handler = again
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
