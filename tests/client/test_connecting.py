"""Finding a cluster, and leaving it, the same on asyncio and on Trio, against nodes of a mux session each."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from swimring.client import connect
from swimring.errors import (
    ConfigError,
    NodeClosed,
    NotJoined,
)
from swimring.identity import Address
from swimring.mux import ANY_CLUSTER, CLIENT, Secret, cluster_digest

from .tiny import ASK, KEYS, key_of, tiny_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


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
        assert [hello.features for hello in hellos] == [(CLIENT, "offers")] * 2
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


async def test_a_name_that_dns_cannot_have_is_a_host_that_there_is_not() -> None:
    with pytest.raises(NotJoined, match=r"ä_b:1 \(no such host\)"):
        async with connect("ä_b:1"):
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
        monkeypatch.setattr("swimring.client.connecting.SCAN_WITHIN", 0.5)
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


SECRET = bytes(range(32))


async def test_a_cluster_with_a_secret_is_asked_with_it() -> None:
    async with tiny_cluster() as cluster:
        cluster.secret = Secret(keys=(bytes(32), SECRET), nonce=bytes(32))
        node = await cluster.start("a")
        async with connect(node.address, secret=SECRET.hex()) as mesh:
            assert await mesh.request(ASK) == "a"


@pytest.mark.parametrize("secret", [None, bytes([9]) * 32])
async def test_a_client_with_another_secret_is_told_so(secret: bytes | None) -> None:
    async with tiny_cluster() as cluster:
        cluster.secret = Secret(keys=(SECRET,), nonce=bytes(32))
        node = await cluster.start("a")
        with pytest.raises(ConfigError, match=r"^secret: .*the node that answers does not take that: .*client-"):
            async with connect(node.address, secret=secret):
                raise AssertionError("this never runs")


async def test_a_client_with_a_secret_talks_to_no_node_without() -> None:
    async with tiny_cluster() as cluster:
        node = await cluster.start("a")
        with pytest.raises(ConfigError, match="a has none: give it the secret"):
            async with connect(node.address, secret=SECRET):
                raise AssertionError("this never runs")


async def test_a_secret_that_is_no_key_is_refused_before_anything_is_dialled() -> None:
    with pytest.raises(ConfigError, match="a key has 32"):
        async with connect(secret=b"short"):
            raise AssertionError("this never runs")
