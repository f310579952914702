"""What a node tells about itself: small things by gossip, larger ones on demand, both changed while it runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.errors import ConfigError, NodeClosed, Unreachable
from swimring.node.details import KEPT, DetailsOfMembers
from swimring.swim import Details, MemberUpdated
from tests.swim.records import member

from .nodes import Recorder, Shop, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.node import Node
    from swimring.rpc import Outgoing
    from swimring.testing import SimulatedNetwork

LARGE = {"shards": list(range(5000)), "note": "x" * 30_000}


async def wait_updated(node: Node, name: str) -> None:
    async with node.events() as events:
        async for event in events:
            if isinstance(event, MemberUpdated) and event.member.name == name:
                return


@simulated
async def test_tags_changed_at_run_time_reach_everybody_as_an_update(network: SimulatedNetwork) -> None:
    async with (
        node_at(network, "a", Shop().service, tags={"role": "db"}, zone="z1") as a,
        node_at(network, "b", Shop().service, join=["a"]) as b,
        node_at(network, "c", Shop().service, join=["a"]) as c,
    ):
        async with trio.open_nursery() as nursery:
            for node in (a, b, c):
                nursery.start_soon(wait_updated, node, "a")
            await trio.sleep(1)
            await a.update(tags={"role": "spare"}, version="2")
        for node in (a, b, c):
            (record,) = (each for each in node.members if each.name == "a")
            assert record.metadata.tags == {"role": "spare"}
            assert (record.metadata.zone, record.metadata.version) == ("z1", "2"), "what is not given stays"


@simulated
async def test_another_weight_moves_keys(network: SimulatedNetwork) -> None:
    async with nodes_at(network, "ab", Shop().service) as (a, b):
        await a.update(weight=0)
        assert list((await b.wait_ring("shop", nodes=1)).nodes) == ["b"]


@simulated
async def test_larger_metadata_is_fetched_once_for_each_version(network: SimulatedNetwork) -> None:
    recorder = Recorder()
    async with (
        node_at(network, "a", Shop().service, details=LARGE) as a,
        node_at(network, "b", Shop().service, join=["a"], instruments=[recorder]) as b,
    ):
        for _ in range(3):
            assert await b.details("a") == LARGE
        assert recorder.finished == [("details", "ok")]
        assert await a.details("a") == LARGE, "its own, without a call"
        assert await a.details("b") == {}, "there are none, and the record says so"
        await a.update(details={"shards": []})
        await wait_updated(b, "a")
        assert await b.details("a") == {"shards": []}
        await a.update(tags={"x": "y"})
        await wait_updated(b, "a")
        assert await b.details("a") == {"shards": []}
        assert recorder.finished == [("details", "ok")] * 2
        await a.update(details={})
        await wait_updated(b, "a")
        assert await b.details("a") == {}
        assert len(recorder.finished) == 2


@simulated
async def test_who_wants_the_same_details_at_once_waits_for_one_call_and_asks_itself_if_that_is_cancelled(
    network: SimulatedNetwork,
) -> None:
    recorder = Recorder()
    async with (
        node_at(network, "a", Shop().service, details=LARGE) as a,
        node_at(network, "b", Shop().service, join=["a"], instruments=[recorder]) as b,
    ):
        found: list[dict[str, Any]] = []

        async def fetch() -> None:
            found.append(await b.details("a"))

        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.001):
                async with trio.open_nursery() as impatient:
                    impatient.start_soon(fetch)
                    await trio.lowlevel.checkpoint()
                    for _ in range(5):
                        nursery.start_soon(fetch)
        assert found == [LARGE] * 5
        assert [outcome for cmd, outcome in recorder.finished if cmd == "details"].count("ok") == 1
        assert len(recorder.finished) == 2, "the one that was cancelled, and one for all others"
        await a.update(details={"x": 1})
        await wait_updated(b, "a")
        assert await b.details("a") == {"x": 1}


@simulated
async def test_a_change_that_is_not_allowed_changes_nothing(network: SimulatedNetwork) -> None:
    async with node_at(network, "a", Shop().service, tags={"role": "db"}, details={"x": 1}) as a:
        before = a.me
        wrong: list[dict[str, Any]] = [
            {"tags": {"role": "x" * 512}}, {"tags": {"swimring.gathering": "3"}}, {"weight": -1}, {"weight": 1.5},
            {"details": {"x": "y" * 65_536}, "zone": "z"}, {"details": {"x": object()}}, {"zone": 5},
        ]  # fmt: skip
        for change in wrong:
            with pytest.raises(ConfigError):
                await a.update(**change)
        assert (a.me, await a.details("a")) == (before, {"x": 1})
    with pytest.raises(NodeClosed):
        await a.update(zone="z")


@simulated
async def test_details_of_nobody_are_unreachable_and_too_large_ones_stop_the_start(network: SimulatedNetwork) -> None:
    async with node_at(network, "a", Shop().service) as a:
        with pytest.raises(Unreachable):
            await a.details("nobody")
    with pytest.raises(ConfigError, match="details"):
        async with node_at(network, "b", Shop().service, details={"x": "y" * 65_536}):
            pass


class Answering:
    """A routing to members that all answer with the details of their names."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def request_at(self, name: str, out: Outgoing) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked.append(name)
        return Details.of({"name": name}).encoded


async def test_the_details_of_so_many_members_are_kept_and_the_oldest_is_fetched_again() -> None:
    routing, details = Answering(), DetailsOfMembers(Details())

    async def fetch(name: str) -> None:
        record = member(name)
        metadata = dataclasses.replace(record.metadata, details=Details.of({"name": name}).digest)
        found = await details.fetch(dataclasses.replace(record, metadata=metadata), routing)  # type: ignore[arg-type]  # as much of it as is used
        assert found.contents == {"name": name}

    names = [f"n{number}" for number in range(KEPT + 1)]
    for name in [*names, names[-1], names[1], names[0]]:
        await fetch(name)
    assert routing.asked == [*names, names[0]]
