"""Whole nodes with a secret: who may join, call, and ask."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.errors import ConfigError, InvalidRequest, Unreachable
from swimring.identity import Address, NodeId
from swimring.instrument import Instruments
from swimring.mux import Limits, Secret
from swimring.net import SystemHost
from swimring.node.keys import Keys
from swimring.rpc import Outgoing, open_pool
from swimring.security import NEW_KEY, Keyring, Sealer, key_id
from tests.node.nodes import PORT, Shop, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from pathlib import Path

    from swimring.node import Node
    from swimring.rpc import Incoming
    from swimring.testing import SimulatedNetwork

KEY, WRONG = bytes(range(32)), bytes([3]) * 32


@simulated
async def test_nodes_with_one_secret_join_and_call_each_other(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service, secret=KEY, insecure=False) as nodes:
        for key in ("k1", "k2", "k3", "k4"):
            owner = nodes[0].lookup(key).name
            assert [await node.call(shop.where, key) for node in nodes] == [owner] * 3
        assert all(node.counters().get("bytes_refused", 0) == 0 for node in nodes)


@pytest.mark.parametrize("secret", [None, WRONG])
@simulated
async def test_a_node_with_another_secret_stays_alone(network: SimulatedNetwork, secret: bytes | None) -> None:
    shop = Shop()
    async with (
        node_at(network, "a", shop.service, secret=KEY) as a,
        node_at(network, "b", shop.service, secret=secret, join=["a"]) as b,
    ):
        await trio.sleep(30)
        assert [[member.name for member in node.members] for node in (a, b)] == [["a"], ["b"]]


@pytest.mark.parametrize("keys", [(), (WRONG,)])
@simulated
async def test_a_call_without_the_secret_is_refused_with_what_to_do(
    network: SimulatedNetwork, keys: tuple[bytes, ...]
) -> None:
    async def serve(incoming: Incoming) -> object:
        raise AssertionError(incoming)

    def secret() -> Secret | None:
        return Secret(keys=keys, nonce=bytes(32)) if keys else None

    async with (
        node_at(network, "a", Shop().service, secret=KEY),
        open_pool(
            me=NodeId("stranger", 1), cluster="test", network=network.at("z"), host=network.host("z"), serve=serve,
            instruments=Instruments(), limits=Limits(), secret=secret,
        ) as pool,
    ):  # fmt: skip
        with pytest.raises(Unreachable, match=r"refused by the peer: .*secret"):
            peer = await pool.peer("a", Address("a", PORT))
            await peer.request(Outgoing(ns="swimring", cmd="members"))


@simulated
async def test_off_loopback_a_node_says_once_that_calls_are_not_encrypted(
    network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    async with node_at(network, "a", Shop().service, secret=KEY, insecure=False):
        await trio.sleep(10)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([text for text in warnings if "never encrypted" in text]) == 1


@simulated
async def test_a_ring_goes_from_plain_to_sealed_by_rolling_restarts_under_load(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with node_at(network, "a", shop.service, join=["b"]) as a:
        async with node_at(network, "b", shop.service, join=["a"], secret=KEY, seal="accept") as b:
            await a.wait_ring(shop.service, nodes=2)
            assert {await node.call(shop.where, key) for node in (a, b) for key in ("k1", "k2", "k3", "k4")} == {
                "a",
                "b",
            }
    async with node_at(network, "a", shop.service, join=["b"], secret=KEY, seal="prefer") as a:
        async with node_at(network, "b", shop.service, join=["a"], secret=KEY) as b:
            await a.wait_ring(shop.service, nodes=2)
            assert {await node.call(shop.where, key) for node in (a, b) for key in ("k1", "k2", "k3", "k4")} == {
                "a",
                "b",
            }


async def keys_of(node: Node, cmd: str = "keys", **fields: object) -> list[str]:
    ids: list[str] = await node.request({"ns": "swimring", "cmd": cmd, **fields})
    return ids


@simulated
async def test_keys_are_added_used_and_removed_while_a_node_runs(network: SimulatedNetwork) -> None:
    old, new = key_id(KEY).hex(), key_id(WRONG).hex()
    async with node_at(network, "a", Shop().service, secret=KEY) as a:
        minute = network.host("a").wall_ms() // 60_000
        sealed = Sealer(Keyring([KEY]), cluster="test", salt=bytes(16)).seal(WRONG, minute=minute, purpose=NEW_KEY)
        assert await keys_of(a) == [old]
        assert await keys_of(a, "add key", sealed=sealed) == [old, new]
        assert await keys_of(a, "add key", sealed=sealed) == [old, new]
        assert await keys_of(a, "use key", identity=new) == [new, old]
        with pytest.raises(InvalidRequest, match="use another one first"):
            await keys_of(a, "remove key", identity=new)
        assert await keys_of(a, "remove key", identity=old) == [new]
        assert await keys_of(a, "remove key", identity=old) == [new]
        for cmd, fields in (
            ("add key", {"sealed": sealed}),
            ("add key", {"sealed": WRONG}),
            ("use key", {"identity": old}),
            ("use key", {"identity": "the new one"}),
        ):
            with pytest.raises(InvalidRequest):
                await keys_of(a, cmd, **fields)
        async with node_at(network, "b", Shop().service, secret=WRONG, join=["a"]) as b:
            assert await b.peer("a").request({"ns": "swimring", "cmd": "keys"}) == [new]


@simulated
async def test_a_node_without_a_secret_has_no_keys_to_change(network: SimulatedNetwork) -> None:
    async with node_at(network, "a", Shop().service) as a:
        with pytest.raises(InvalidRequest, match="this node has no secret"):
            await keys_of(a)


def keys_from(file: Path) -> Keys:
    return Keys(Keyring([KEY]), cluster="test", host=SystemHost(), file=file)


def write_secret(file: Path, *keys: bytes) -> None:
    file.touch(mode=0o600)
    file.write_text("".join(f"{key.hex()}\n" for key in keys))


async def test_a_secret_file_that_is_read_again_replaces_the_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ring.secret"
    keys = keys_from(file)
    write_secret(file, WRONG, KEY)
    await keys.reload()
    assert keys.ids() == [key_id(WRONG).hex(), key_id(KEY).hex()]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    write_secret(file, bytes(32))
    await keys.reload()
    assert keys.ids() == [key_id(bytes(32)).hex()]
    assert "none of the keys of before is among them" in caplog.text
    assert KEY.hex() not in caplog.text


async def test_a_secret_file_that_makes_no_sense_or_is_not_there_leaves_the_keys_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "ring.secret"
    keys = keys_from(file)
    for content in (None, "", "no key\n", f"{WRONG.hex()}\n{WRONG.hex()[1:]}\n", "\N{SNOWMAN}"):
        if content is not None:
            write_secret(file)
            file.write_text(content)
        with pytest.raises(ConfigError, match="secret_file"):
            await keys.reload()
        assert keys.ids() == [key_id(KEY).hex()]
    write_secret(file, WRONG)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="only its owner may read it"):
        await keys.reload()
    assert keys.ids() == [key_id(KEY).hex()]


@simulated
async def test_a_node_without_a_secret_file_has_nothing_to_read_again(network: SimulatedNetwork) -> None:
    for secret in (None, KEY):
        async with node_at(network, "a", Shop().service, secret=secret) as a:
            with pytest.raises(ConfigError, match="neither a secret file nor certificates"):
                await a.reload()
