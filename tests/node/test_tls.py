"""Nodes with certificates: who joins, who calls, and how a cluster goes from plain to TLS."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.errors import ConfigError, Unreachable
from swimring.identity import Address, NodeId
from swimring.instrument import Instruments
from swimring.node import open_node
from swimring.node.listening import IDENTIFY_WITHIN
from swimring.rpc import Outgoing, open_connection, open_pool
from swimring.testing import open_simulated_network, run_simulation
from tests.certificates.authority import Authority
from tests.node.nodes import PORT, Recorder, Shop, key_of, node_at, nodes_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from swimring.node import Node
    from swimring.rpc import Incoming
    from swimring.testing import SimulatedNetwork

KEYS = ("k1", "k2", "k3", "k4", "k5", "k6")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def simulate(scenario: Callable[[SimulatedNetwork], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_simulated_network() as network:
            await scenario(network)

    run_simulation(main, seed=1)


async def ask_everywhere(shop: Shop, *nodes: Node) -> None:
    names = {node.name for node in nodes}
    for node in nodes:
        assert {await node.call(shop.where, key_of(node, owner)) for owner in names} == names


def wiretap(network: SimulatedNetwork) -> list[bytes]:
    """The first bytes of all connections that are dialled from now on."""
    firsts: list[bytes] = []
    at = network.at

    class Tapped:
        def __init__(self, host: str) -> None:
            self._network: Any = at(host)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._network, name)

        async def connect(self, address: Address) -> trio.abc.Stream:
            stream: trio.abc.Stream = await self._network.connect(address)
            send_all, first = stream.send_all, True

            async def tapped(data: bytes | bytearray | memoryview) -> None:
                nonlocal first
                if first:
                    firsts.append(bytes(data[:1]))
                    first = False
                await send_all(data)

            stream.send_all = tapped  # type: ignore[method-assign]
            return stream

    network.at = Tapped  # type: ignore[assignment, method-assign]
    return firsts


def test_nodes_of_one_authority_join_and_call_each_other_and_all_of_it_is_encrypted(authority: Authority) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        firsts, shop, recorder = wiretap(network), Shop(), Recorder()
        tls = authority.issue()
        async with nodes_at(network, "abc", shop.service, tls=tls, instruments=[recorder]) as nodes:
            await ask_everywhere(shop, *nodes)
            await trio.sleep(60)
            assert len(firsts) > 3
            assert set(firsts) == {b"\x16"}
            assert recorder.refused == []

    simulate(scenario)


@pytest.mark.parametrize("stranger", ["plain", "foreign"])
def test_who_has_no_certificate_of_the_authority_stays_alone(
    authority: Authority, tmp_path: Path, stranger: str
) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        tls = None if stranger == "plain" else Authority(tmp_path, "foreign").issue("foreign")
        shop, recorder = Shop(), Recorder()
        async with (
            node_at(network, "a", shop.service, tls=authority.issue(), instruments=[recorder]),
            node_at(network, "b", shop.service, tls=tls, join=["a"]) as b,
        ):
            await trio.sleep(5)
            assert await b.call(shop.where, key_of(b, "b")) == "b"
            with pytest.raises(Unreachable):
                await b.peer("a").request({"ns": "swimring", "cmd": "members"})
        words = "TLS is required on this node" if stranger == "plain" else "does not accept our certificate"
        assert any(words in reason for _port, reason in recorder.refused), recorder.refused

    simulate(scenario)


async def ask_as_stranger(network: SimulatedNetwork) -> object:
    async def serve(incoming: Incoming) -> object:
        raise AssertionError(incoming)

    async with open_pool(
        me=NodeId("stranger", 1), cluster="test", network=network.at("z"), host=network.host("z"), serve=serve,
        instruments=Instruments(),
    ) as pool:  # fmt: skip
        peer = await pool.peer("a", Address("a", PORT))
        return await peer.request(Outgoing(ns="swimring", cmd="members"))


def test_a_plain_call_to_a_node_that_requires_tls_is_told_so(authority: Authority) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        async with node_at(network, "a", Shop().service, tls=authority.issue()):
            with pytest.RaisesGroup(pytest.RaisesExc(Unreachable, match="refused by the peer: TLS is required")):
                await ask_as_stranger(network)
        async with node_at(network, "a", Shop().service, tls=authority.issue(mode="prefer")):
            assert await ask_as_stranger(network)

    simulate(scenario)


def test_a_ring_goes_from_plain_to_tls_by_rolling_restarts(authority: Authority) -> None:
    async def together(network: SimulatedNetwork, shop: Shop, *modes: str | None) -> None:
        tls = [None if mode is None else authority.issue(mode=mode) for mode in modes]
        async with (
            node_at(network, "a", shop.service, join=["b"], tls=tls[0]) as a,
            node_at(network, "b", shop.service, join=["a"], tls=tls[1]) as b,
        ):
            await a.wait_ring(shop.service, nodes=2)
            await ask_everywhere(shop, a, b)

    async def scenario(network: SimulatedNetwork) -> None:
        shop = Shop()
        for modes in ((None, "accept"), ("accept", "prefer"), ("prefer", "require"), ("require", "require")):
            await together(network, shop, *modes)

    simulate(scenario)


def test_a_renewed_certificate_is_shown_without_a_restart_and_calls_go_on(authority: Authority, tmp_path: Path) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        shop, old = Shop(), authority.issue("a")
        async with node_at(network, "a", shop.service, tls=old) as a:
            async with node_at(network, "b", shop.service, tls=authority.issue("b"), join=["a"]) as b:
                await a.wait_ring(shop.service, nodes=2)
                await ask_everywhere(shop, a, b)
                # A new authority takes over: first both are trusted, then everybody gets a certificate of the new one.
                new = Authority(tmp_path, "new")
                authority.trust_also(new)
                for name in ("a", "b"):
                    new.issue(name)
                await a.reload()
                await ask_everywhere(shop, a, b)
            async with node_at(network, "c", shop.service, tls=new.issue("c", ca=new.file), join=["a"]) as c:
                await a.wait_ring(shop.service, nodes=2)
                await ask_everywhere(shop, a, c)

    simulate(scenario)


def test_leaving_over_tls_lets_calls_under_way_finish(authority: Authority) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        shop, tls = Shop(), authority.issue()
        answers: list[str] = []
        async with node_at(network, "a", shop.service, tls=tls) as a, trio.open_nursery() as nursery:
            async with node_at(network, "b", shop.service, tls=tls, join=["a"]) as b:
                await a.wait_ring(shop.service, nodes=2)
                key = key_of(a, "b")

                async def ask() -> None:
                    answers.append(await a.call(shop.nap_once, key, 1.0))

                nursery.start_soon(ask)
                await shop.opened.wait()
                assert b.owns(key)
        assert answers == ["b"]

    simulate(scenario)


@pytest.mark.parametrize(
    ("mode", "warning"), [(None, "never encrypted"), ("accept", "not always encrypted"), ("require", None)]
)
def test_off_loopback_a_node_warns_unless_tls_is_required(
    authority: Authority, caplog: pytest.LogCaptureFixture, mode: str | None, warning: str | None
) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        tls = None if mode is None else authority.issue(mode=mode)
        async with node_at(network, "a", Shop().service, tls=tls):
            await trio.sleep(1)

    simulate(scenario)
    found = [record.getMessage() for record in caplog.records if "encrypted" in record.getMessage()]
    assert len(found) == (0 if warning is None else 1)
    assert all(str(warning) in text for text in found)


def test_certificates_that_cannot_be_used_stop_a_node_before_it_starts(authority: Authority, tmp_path: Path) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        tls = dataclasses.replace(authority.issue(), ca=tmp_path / "nowhere")
        with pytest.raises(ConfigError, match="tls-ca"):
            async with node_at(network, "a", Shop().service, tls=tls):
                pass

    simulate(scenario)


def test_a_handshake_that_stalls_is_not_waited_for(authority: Authority) -> None:
    async def scenario(network: SimulatedNetwork) -> None:
        recorder, shop = Recorder(), Shop()
        async with node_at(network, "a", shop.service, tls=authority.issue(), instruments=[recorder]) as node:
            began = trio.current_time()
            async with await network.at("stranger").connect(Address("a", PORT)) as stream:
                await stream.send_all(b"\x16\x03\x01\x02\x00\x01")
                assert await stream.receive_some() == b""
            assert trio.current_time() - began == pytest.approx(IDENTIFY_WITHIN, abs=0.1)
            assert recorder.refused == [("stream", "TLS: the handshake took too long")]
            assert await node.call(shop.where, "k") == "a"

    simulate(scenario)


async def test_a_unix_socket_takes_calls_but_no_gossip(authority: Authority, tmp_path: Path) -> None:
    async def serve(incoming: Incoming) -> object:
        raise AssertionError(incoming)

    shop, path, recorder = Shop(), tmp_path / "door", Recorder()
    with trio.fail_after(20):
        async with open_node(
            shop.service, listen="127.0.0.1:0", join=["127.0.0.1:1"], tls=authority.issue(), unix_socket=path,
            instruments=[recorder],
        ) as node:  # fmt: skip
            stream = await trio.open_unix_socket(path)
            me = NodeId("here", 1)
            async with open_connection(stream, me=me, cluster="shop", dialled=True, serve=serve) as peer:
                assert await peer.request(Outgoing(ns="shop", cmd="where")) == node.name
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(b"\xe1?")
                assert await stream.receive_some() == b""
            assert recorder.refused == [("stream", "protocol version 1 is not spoken here")]
            node.hurry()
        assert not path.exists()
