"""What every node answers about itself, asked over the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from swimring.builtin import NAMESPACE, builtin_service, describe
from swimring.identity import Address
from swimring.ring import HashRing, ring_seed
from swimring.swim import Member, Metadata, Status
from tests.node.nodes import Shop, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork


def test_a_member_in_words_has_what_people_ask_for() -> None:
    member = Member(
        name="n1",
        address=Address("::1", 7979),
        generation=7,
        incarnation=2,
        status=Status.SUSPECT,
        metadata=Metadata(services=("kv", "cache"), weight=2, zone="z"),
    )
    assert describe(member) == {
        "name": "n1",
        "address": "[::1]:7979",
        "status": "suspect",
        "generation": 7,
        "incarnation": 2,
        "services": ["cache", "kv"],
        "weight": 2,
        "zone": "z",
    }


def test_every_builtin_handler_can_be_repeated() -> None:
    class Facts:
        name, cluster, points, members = "n", "c", 128, ()

        def own_details(self) -> bytes:
            return b""

        def counters(self) -> dict[str, int]:
            return {}

        def lag(self, name: str) -> float | None:
            return None

        def suspect_connection(self, name: str) -> None:
            raise AssertionError(name)

    service = builtin_service(Facts())
    assert service.name == NAMESPACE == "swimring"
    assert {endpoint.cmd: endpoint.idempotent for endpoint in service.endpoints} == dict.fromkeys(
        ["ring", "members", "info", "details", "keys", "add key", "use key", "remove key"], True
    )


@simulated
async def test_the_namespace_is_answered_where_the_message_arrives_whatever_the_key(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        for i in range(10):
            assert (await a.request({"ns": "swimring", "cmd": "info", "key": f"k{i}"}))["name"] == "a"
        for name in "ab":
            told = await a.peer(name).request({"ns": "swimring", "cmd": "info", "key": "k"})
            assert (told["name"], told["cluster"]) == (name, "test")
            assert told["counters"].keys() == b.counters().keys()


@simulated
async def test_members_tells_everybody_with_status(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        async with node_at(network, "c", shop.service, join=["a"]):
            pass
        rows: list[dict[str, Any]] = await a.peer("b").request({"ns": "swimring", "cmd": "members"})
        assert [(row["name"], row["status"]) for row in rows] == [("a", "alive"), ("b", "alive"), ("c", "left")]


@simulated
async def test_members_tells_how_late_their_timers_are(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "ab", shop.service) as (a, b):
        assert b.lag("nobody") is None
        await trio.sleep(5)
        rows: list[dict[str, Any]] = await a.peer("b").request({"ns": "swimring", "cmd": "members"})
        assert [(row["name"], row["lag"]) for row in rows] == [("a", 0.0), ("b", 0.0)]


@simulated
async def test_ring_tells_enough_to_compute_the_ring_of_every_service(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service, points=32) as (a, *_):
        told = await a.request({"ns": "swimring", "cmd": "ring"})
        members = [Member.from_wire(wire) for wire in told["members"]]
        weights = {member.name: member.metadata.weight for member in members if "shop" in member.metadata.services}
        computed = HashRing.build(weights, seed=ring_seed(told["cluster"]), points=told["points"])
        assert computed.version == a.ring().version
        assert [computed.lookup(f"k{i}") for i in range(50)] == [a.lookup(f"k{i}").name for i in range(50)]
