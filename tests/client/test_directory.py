"""What a client believes about the members, and what follows for the rings."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import pytest

from swimring.client.directory import Directory
from swimring.client.news import ClusterState, News, read_everybody
from swimring.errors import ConfigError, NoSuchHandler, RemoteProtocolError
from swimring.identity import Address
from swimring.ring import HashRing, ring_seed
from swimring.swim import Member, Metadata, Status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio  # only because the directory has an event to wait for


def member(
    name: str, *services: str, generation: int = 1, incarnation: int = 0, status: Status = Status.ALIVE, weight: int = 1
) -> Member:
    return Member(
        name=name, address=Address("127.0.0.1", 7979), generation=generation, incarnation=incarnation, status=status,
        metadata=Metadata(services=services or ("hello",), weight=weight),
    )  # fmt: skip


def state(*members: Member, points: int = 128) -> ClusterState:
    return ClusterState(cluster="hello", points=points, members=members)


async def test_the_rings_are_those_that_nodes_compute() -> None:
    directory = Directory(state(member("a", weight=2), member("b", "hello", "kv"), member("c", "kv"), points=16))
    seed = ring_seed("hello")
    assert directory.ring("hello") == HashRing.build({"a": 2, "b": 1}, seed=seed, points=16)
    assert directory.ring("kv") == HashRing.build({"b": 1, "c": 1}, seed=seed, points=16)
    assert directory.services == ("hello", "kv")


async def test_suspects_take_part_and_the_dead_and_gone_do_not() -> None:
    directory = Directory(
        state(
            member("a"),
            member("b", status=Status.SUSPECT),
            member("c", status=Status.DEAD),
            member("d", status=Status.LEFT),
        )
    )
    assert [one.name for one in directory.active] == ["a", "b"]
    assert [one.name for one in directory.members] == ["a", "b", "c", "d"]
    assert list(directory.ring("hello").nodes) == ["a", "b"]


async def test_a_record_gives_way_to_a_later_one_only() -> None:
    directory = Directory(state(member("a", generation=2, incarnation=5)))
    directory.apply([member("a", generation=2, incarnation=4, status=Status.DEAD).to_wire()])
    directory.apply([member("a", generation=1, incarnation=9, status=Status.LEFT).to_wire()])
    assert [one.status for one in directory.members] == [Status.ALIVE]
    directory.apply([member("a", generation=2, incarnation=5, status=Status.DEAD).to_wire()])
    assert [one.status for one in directory.members] == [Status.DEAD]
    directory.take_in(state(member("a", generation=3)))
    assert directory.members[0].id == member("a", generation=3).id


async def test_who_is_gone_and_not_spoken_of_any_more_is_forgotten() -> None:
    directory = Directory(state(member("a"), member("b", status=Status.DEAD), member("c")))
    directory.take_in(state(member("a")))
    assert [one.name for one in directory.members] == ["a", "c"], "a node may not have heard of c yet"


async def test_only_a_change_is_announced() -> None:
    directory = Directory(state(member("a")))
    changed = directory.changed
    directory.take_in(state(member("a")))
    assert not changed.is_set()
    directory.apply([member("b").to_wire()])
    assert changed.is_set()
    assert not directory.changed.is_set()
    assert isinstance(directory.changed, anyio.Event)


async def test_records_are_taken_in_all_or_none() -> None:
    directory = Directory(state(member("a")))
    with pytest.raises(RemoteProtocolError):
        directory.apply([member("b").to_wire(), ["nonsense"]])
    assert [one.name for one in directory.members] == ["a"]


async def test_without_a_name_the_only_service_is_meant() -> None:
    directory = Directory(state(member("a", "kv")))
    assert directory.lookup("k", None).name == "a"
    assert directory.replicas("k", 1, None) == ()
    directory.apply([member("b", "chat").to_wire()])
    with pytest.raises(ConfigError, match="name one of: chat, kv"):
        directory.lookup("k", None)
    assert directory.lookup("k", "chat").name == "b"
    with pytest.raises(NoSuchHandler, match="offered: chat, kv"):
        directory.lookup("k", "mail")
    with pytest.raises(ConfigError, match="key"):
        directory.lookup("k" * 1025, "chat")


def told(*members: Member, **more: object) -> dict[str, object]:
    return {"members": [one.to_wire() for one in members], **more}


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        {},
        {"cluster": "hello", "points": 128},
        told(cluster="hello", points=0),
        told(cluster="hello", points=10**9),
        told(cluster="hello", points="128"),
        told(cluster="no spaces", points=128),
        told(cluster=5, points=128),
        told(points=128),
        told(gone="abc"),
        told(gone=[5]),
        told(more=1),
        {"members": [5]},
        {"members": [["a"]]},
    ],
)
def test_news_that_make_no_sense_are_refused(item: object) -> None:
    with pytest.raises(RemoteProtocolError):
        News.from_wire(item)


def test_news_from_a_later_version_are_understood() -> None:
    wire = {"cluster": "hello", "points": 8, "members": [[*member("a").to_wire(), "more"]], "epoch": 7}
    assert News.from_wire(wire) == News(cluster="hello", points=8, members=(member("a"),))


async def everybody(*items: object) -> ClusterState:
    async def news() -> AsyncGenerator[object, None]:
        for item in items:
            yield item

    async with aclosing(news()) as told_here:
        return await read_everybody(told_here)


async def test_everybody_comes_in_pieces() -> None:
    first = told(member("a"), cluster="hello", points=8, more=True)
    found = await everybody(first, told(member("b"), more=True), told(member("c"), more=False), told(member("d")))
    assert found == state(member("a"), member("b"), member("c"), points=8)


async def test_half_of_everybody_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    first = told(member("a"), cluster="hello", points=8, more=True)
    for items in ([], [first], [told(member("a"))]):
        with pytest.raises(RemoteProtocolError):
            await everybody(*items)
    monkeypatch.setattr("swimring.client.news.MAX_MEMBERS", 3)
    with pytest.raises(RemoteProtocolError, match="more than 3 members"):
        await everybody(first, *[told(member("b"), more=True)] * 3, told())


async def test_who_is_gone_is_forgotten_unless_it_takes_part() -> None:
    directory = Directory(state(member("a"), member("b", status=Status.DEAD), member("c")))
    directory.learn([member("d")], gone=["b", "c", "x"])
    assert [one.name for one in directory.members] == ["a", "c", "d"]
