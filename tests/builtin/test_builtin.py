"""What every node answers about itself, asked over the network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import AsyncIterator, Iterable, Mapping  # noqa: TC003 - annotations of handlers are evaluated
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from swimring.builtin import NAMESPACE, builtin_service, describe
from swimring.identity import Address
from swimring.ring import HashRing, ring_seed
from swimring.service import Request, Service
from swimring.swim import Member, Metadata, Phase, Standing, Status
from tests.node.nodes import Shop, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork

seen_from_afar = Service(NAMESPACE)


@seen_from_afar.on("follow", idempotent=True)
async def follow(request: Request, *, changes: bool = True, lost: str = "") -> AsyncIterator[dict[str, Any]]:
    raise NotImplementedError
    yield {}


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
        "takes": "all",
        "zone": "z",
    }
    for standing, takes in (
        (Standing(share=4), "4/16"),
        (Standing(phase=Phase.CORDONED), "cordoned"),
        (Standing(phase=Phase.DRAINING), "draining"),
        (Standing(phase=9), "none"),
    ):
        metadata = member.metadata.with_standing(standing)
        assert describe(dataclasses.replace(member, metadata=metadata))["takes"] == takes


def test_every_builtin_handler_can_be_repeated() -> None:
    service = builtin_service(Crowd(0))
    assert service.name == NAMESPACE == "swimring"
    assert {endpoint.cmd: endpoint.idempotent for endpoint in service.endpoints} == dict.fromkeys(
        [
            "follow",
            "members",
            "info",
            "details",
            "statistics",
            "keys",
            "add key",
            "use key",
            "remove key",
            "cordon",
            "uncordon",
            "drain",
            "kept",
            "evict",
        ],
        True,
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
async def test_who_follows_is_told_enough_to_compute_the_ring_of_every_service(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with nodes_at(network, "abc", shop.service, points=32) as (a, *_):
        async with a.peer("b").open(follow, None, changes=False) as items:
            (told,) = [item async for item in items]
        members = [Member.from_wire(wire) for wire in told["members"]]
        weights = {member.name: member.metadata.weight for member in members if "shop" in member.metadata.services}
        computed = HashRing.build(weights, seed=ring_seed(told["cluster"]), points=told["points"])
        assert computed.version == a.ring().version
        assert [computed.lookup(f"k{i}") for i in range(50)] == [a.lookup(f"k{i}").name for i in range(50)]


@simulated
async def test_who_follows_hears_of_each_change_and_of_the_end_when_the_node_leaves(network: SimulatedNetwork) -> None:
    shop = Shop()
    heard: list[list[tuple[str, str]]] = []
    async with nodes_at(network, "ab", shop.service) as (a, b), trio.open_nursery() as nursery:

        async def listen() -> None:
            async with a.peer("b").open(follow, None) as items:
                async for item in items:
                    members = [Member.from_wire(wire) for wire in item["members"]]
                    heard.append([(member.name, member.status.word) for member in members])

        nursery.start_soon(listen)
        await trio.sleep(1)
        async with node_at(network, "c", shop.service, join=["a"]):
            await trio.sleep(1)
            await a.update(weight=3)
            await trio.sleep(1)
        await trio.sleep(1)
        began = trio.current_time()
        await b.leave()
        nursery.cancel_scope.deadline = trio.current_time() + 1
    assert heard[0] == [("a", "alive"), ("b", "alive")]
    assert heard[1:] == [[("c", "alive")], [("a", "alive")], [("c", "left")], [("b", "left")]]
    assert trio.current_time() - began < 3, "it does not hold up the farewell"


class Crowd:
    """Facts about so many members, and changes when the test says so."""

    def __init__(self, count: int) -> None:
        self.name, self.cluster, self.points = "n0", "crowd", 128
        self.members = [self.member(number) for number in range(count)]
        self.send, self.receive = trio.open_memory_channel[None](math.inf)

    @property
    def me(self) -> Member:
        return self.members[0]

    def member(self, number: int, status: Status = Status.ALIVE) -> Member:
        return Member(
            name=f"n{number}", address=Address("10.0.0.1", number + 1), generation=1, incarnation=0, status=status,
            metadata=Metadata(services=("kv",)),
        )  # fmt: skip

    @asynccontextmanager
    async def member_events(self) -> AsyncIterator[Any]:
        yield self.receive

    def own_details(self) -> bytes:
        return b""

    def counters(self) -> dict[str, int]:
        return {}

    def report(self, about: Iterable[str], of: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def lag(self, name: str) -> float | None:
        return None

    def suspect_connection(self, name: str) -> None: ...


async def test_many_members_are_told_in_pieces_and_many_changes_as_one() -> None:
    crowd = Crowd(300)
    (handler,) = [one for one in builtin_service(crowd).endpoints if one.cmd == "follow"]
    items = handler.function(Request(node=None))  # type: ignore[arg-type]  # no node here
    pieces = [await anext(items) for _ in range(3)]
    assert [(len(piece["members"]), piece["more"]) for piece in pieces] == [(128, True), (128, True), (44, False)]
    assert ["cluster" in piece for piece in pieces] == [True, False, False]
    crowd.members[5] = crowd.member(5, Status.DEAD)
    del crowd.members[7:9]
    for _ in range(1_000):
        crowd.send.send_nowait(None)
    news = await anext(items)
    assert [Member.from_wire(wire).name for wire in news["members"]] == ["n5"]
    assert news["gone"] == ["n7", "n8"]
    crowd.members[0] = crowd.member(0, Status.LEFT)
    assert [[Member.from_wire(wire).name for wire in item["members"]] async for item in items] == [["n0"]]
