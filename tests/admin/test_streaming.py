"""What an open page is told, and what it costs if it does not listen."""

from __future__ import annotations

import gc
import json
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from swimring.admin.http import HttpRequest, Site
from swimring.admin.http.server import SENT_WITHIN, HttpServer
from swimring.admin.http.site import MOST_PAGES
from tests.node.nodes import Shop, hold, key_of, node_at, simulated

from .test_http import Talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.node import Node
    from swimring.testing import SimulatedNetwork


@asynccontextmanager
async def shown(
    network: SimulatedNetwork, hosts: str, shop: Shop, *sites: Site
) -> AsyncIterator[tuple[list[Node], Site]]:
    """Nodes, each with a site of its own; the first one's."""
    async with trio.open_nursery() as nursery:
        nodes: list[Node] = []
        every = [*sites, *(Site(host=network.host(host)) for host in hosts[len(sites) :])]
        for host, site in zip(hosts, every, strict=True):
            settings = {"join": [f"{hosts[0]}:7979"], "instruments": site.instruments}
            nodes.append(await nursery.start(hold, node_at(network, host, shop.service, **settings)))
            site.show(nodes[-1])
            nursery.start_soon(site.follow, nodes[-1])
        for node in nodes:
            await node.wait_ring(shop.service, nodes=len(hosts))
        yield nodes, every[0]
        for node in nodes:
            node.hurry()
        nursery.cancel_scope.cancel()


class Page:
    """What one page has been told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self._more = trio.Event()

    async def send(self, data: bytes) -> None:
        name, value = data.decode().rstrip("\n").split("\n")
        self.told.append((name.removeprefix("event: "), json.loads(value.removeprefix("data: "))))
        self._more.set()
        self._more = trio.Event()
        await trio.lowlevel.checkpoint()

    def last(self, name: str) -> Any:
        return next(value for told, value in reversed(self.told) if told == name)

    async def until(self, name: str, look: Any) -> Any:
        """Wait until what was told last under that name looks right."""
        while not any(told == name for told, _ in self.told) or not look(self.last(name)):
            await self._more.wait()
        return self.last(name)


@asynccontextmanager
async def opened(site: Site, **query: str) -> AsyncIterator[Page]:
    body = (await site.answer(HttpRequest(method="GET", path="/api/events", query=query))).body
    assert not isinstance(body, bytes)
    page = Page()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(body, page.send)
        yield page
        nursery.cancel_scope.cancel()


@simulated
async def test_a_page_is_told_first_who_tells_and_then_everything(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with shown(network, "ab", shop) as ((a, _), site), opened(site) as page:
        cluster = await page.until("cluster", lambda told: len(told["nodes"]) == 2)
        assert page.told[0][0] == "hello"
        assert (page.last("hello")["name"], page.last("hello")["writable"]) == ("a", False)
        assert [member["name"] for member in page.last("members")] == ["a", "b"]
        ring = page.last("ring")
        assert (ring["service"], ring["nodes"], ring["version"]) == ("shop", ["a", "b"], a.ring().version)
        assert ring["arcs"][0][0] == 0
        assert [node["name"] for node in cluster["nodes"]] == ["a", "b"]
        assert {entry["kind"] for entry in page.last("timeline")} >= {"join", "ring"}


@simulated
async def test_the_ring_and_the_time_line_follow_a_node_that_leaves(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with shown(network, "ab", shop) as ((_, b), site), opened(site) as page:
        await page.until("ring", lambda told: len(told["nodes"]) == 2)
        await b.leave()
        ring = await page.until("ring", lambda told: len(told["nodes"]) == 1)
        assert ring["share"] == {"a": 1.0}
        await page.until("timeline", lambda told: any(entry["kind"] == "gained" for entry in told))
        kinds = [entry["kind"] for name, told in page.told if name == "timeline" for entry in told]
        assert "left" in kinds
        assert page.last("members")[1]["status"] == "left"


@simulated
async def test_a_cordoned_node_and_one_that_takes_keys_again_are_on_the_time_line(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with shown(network, "ab", shop) as ((_, b), site), opened(site) as page:
        await b.cordon()
        await page.until("members", lambda told: told[1]["takes"] == "cordoned")
        await b.uncordon()
        await page.until("members", lambda told: told[1]["takes"] == "all")
        await trio.sleep(2)
        kinds = [(entry.kind, entry.subject) for entry in site.timeline.since(0)]
        assert kinds.index(("cordon", "b")) < kinds.index(("uncordon", "b"))


@simulated
async def test_traffic_of_all_nodes_is_added_up(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with shown(network, "ab", shop) as ((a, _), site), opened(site) as page:
        for owner, count in (("a", 3), ("b", 5)):
            for _ in range(count):
                await a.call(shop.add, key_of(a, owner), a=1)
        cluster = await page.until("cluster", lambda told: any(one["handled"] == 8 for one in told["handlers"]))
        (handler,) = cluster["handlers"]
        assert (handler["ns"], handler["cmd"], handler["calls"]) == ("shop", "add", 8)
        assert set(handler["on"]) == {"a", "b"}
        assert sum(handler["history"]) == 8
        assert 0 < handler["p50"] <= handler["p99"] < 1


@simulated
@pytest.mark.parametrize(
    "nonsense", [[{"ns": "shop"}], [7], "text", None, [{"ns": "shop", "cmd": "add", "rate": "much"}], {"ns": 1}]
)
async def test_a_node_of_another_version_that_tells_its_traffic_otherwise_hurts_no_page(
    network: SimulatedNetwork, nonsense: object
) -> None:
    shop = Shop()
    async with shown(network, "ab", shop) as ((a, b), site), opened(site) as page:
        b.add_report("traffic", lambda _of: nonsense)
        await a.call(shop.add, key_of(a, "a"), a=1)
        cluster = await page.until("cluster", lambda told: any(one["handled"] == 1 for one in told["handlers"]))
        assert [node["name"] for node in cluster["nodes"]] == ["a", "b"]


@simulated
async def test_a_node_that_does_not_answer_is_told_with_its_reason_and_delays_nothing_else(
    network: SimulatedNetwork,
) -> None:
    shop = Shop()
    async with shown(network, "abc", shop) as (_, site), opened(site) as page:
        await page.until("cluster", lambda told: len(told["nodes"]) == 3)
        with network.isolate("c"):
            told = await page.until("cluster", lambda told: any("error" in node for node in told["nodes"]))
            assert [node["name"] for node in told["nodes"] if "error" in node] == ["c"]
            await page.until("members", lambda members: members[2]["status"] == "suspect")
            told = await page.until("cluster", lambda told: any(node.get("suspicions") for node in told["nodes"]))
            assert {each["suspect"] for node in told["nodes"] for each in node.get("suspicions", ())} == {"c"}


@simulated
async def test_a_page_that_comes_back_gets_only_what_it_has_not_seen(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with shown(network, "ab", shop) as (_, site):
        last = site.timeline.last
        site.timeline.put("ring", "shop", "news")
        async with opened(site, since=str(last)) as page:
            told = await page.until("timeline", lambda _: True)
            assert [entry["text"] for entry in told] == ["news"]
        async with opened(site, since="999999") as page:  # of another life of this node
            assert len(await page.until("timeline", lambda _: True)) == site.timeline.last


@simulated
async def test_however_many_pages_are_open_the_nodes_are_asked_once(network: SimulatedNetwork) -> None:
    shop, asked = Shop(), 0

    def count(_of: object) -> list[object]:
        nonlocal asked
        asked += 1
        return []

    async with shown(network, "ab", shop) as ((_, b), site):
        b.add_report("traffic", count)
        async with trio.open_nursery() as nursery:
            for _ in range(MOST_PAGES):
                body = (await site.answer(HttpRequest(method="GET", path="/api/events"))).body
                assert not isinstance(body, bytes)
                nursery.start_soon(body, Page().send)
            await trio.sleep(10)
            assert asked <= 6
            assert (await site.answer(HttpRequest(method="GET", path="/api/events"))).status == 503
            nursery.cancel_scope.cancel()
        assert (await site.answer(HttpRequest(method="GET", path="/api/events"))).status == 200


@simulated
async def test_a_page_that_does_not_read_costs_one_event_and_is_dropped(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with shown(network, "a", shop) as (_, site), trio.open_nursery() as nursery:
        ours, theirs = trio.testing.lockstep_stream_pair()  # nothing is taken that is not read
        began, ended = trio.current_time(), trio.Event()

        async def serve() -> None:
            await HttpServer(site.answer).serve(theirs)
            ended.set()

        nursery.start_soon(serve)
        await Talk(ours).ask("/api/events")
        await trio.sleep(SENT_WITHIN / 2)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(20_000):
                site.timeline.put("ring", "shop", f"{number} {'x' * 100}")
                if number % 100 == 0:
                    await trio.sleep(0.001)
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 1_000_000, grown  # the thousand entries that the time-line keeps, and no more
        await ended.wait()
        assert trio.current_time() - began < 2 * SENT_WITHIN
        nursery.cancel_scope.cancel()


@simulated
async def test_keys_of_a_node_and_of_a_range_are_told_with_their_rates(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with shown(network, "ab", shop) as ((a, _), site):
        key = key_of(a, "b")
        for _ in range(10):
            await a.call(shop.add, key, a=1)
        at = a.ring().position(key) / 2**64

        async def told(**query: str) -> Any:
            answer = await site.answer(
                HttpRequest(method="GET", path="/api/keys", query={"service": "shop", "node": "b"} | query)
            )
            assert isinstance(answer.body, bytes)
            return json.loads(answer.body)

        whole = await told()
        assert (whole["keys"], [name for name, _ in whole["busiest"]]) == (1, [key])
        assert whole["rate"] == pytest.approx(whole["busiest"][0][1])
        assert (await told(start=str(at - 1e-9), end=str(at + 1e-9)))["keys"] == 1
        assert (await told(start="0", end=str(at - 1e-9)))["keys"] == 0
        assert "error" in await told(start="nonsense")
        assert "error" in await told(node="nobody")


@simulated
async def test_who_runs_for_a_key_is_found_on_whichever_node_it_is(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with shown(network, "ab", shop) as ((a, _), site), trio.open_nursery() as nursery:
        key = key_of(a, "b")
        nursery.start_soon(a.call, shop.nap, key, 60.0)
        await shop.opened.wait()
        answer = await site.answer(HttpRequest(method="GET", path="/api/running", query={"key": key}))
        assert isinstance(answer.body, bytes)
        on_a, on_b = json.loads(answer.body)
        assert on_a == {"name": "a", "running": []}
        assert (on_b["name"], on_b["running"][0]["cmd"], on_b["running"][0]["peer"]) == ("b", "nap", "a")
        assert "60" not in json.dumps(on_b["running"][0]["where"])  # no arguments
        nursery.cancel_scope.cancel()


@simulated
async def test_the_time_line_can_be_taken_away_as_json(network: SimulatedNetwork) -> None:
    shop = Shop()
    async with shown(network, "a", shop) as (_, site):
        answer = await site.answer(HttpRequest(method="GET", path="/api/timeline"))
        assert "attachment" in answer.headers["Content-Disposition"]
        assert isinstance(answer.body, bytes)
        told = json.loads(answer.body)
        assert told["node"] == "a"
        assert [entry["number"] for entry in told["entries"]] == list(range(1, site.timeline.last + 1))
