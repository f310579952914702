from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from swimring.admin.http import HttpRequest, Site, Stage, open_admin
from swimring.observe.metrics import Metrics
from tests.node.nodes import Shop, node_at, nodes_at, simulated

if TYPE_CHECKING:
    from swimring.admin.http import HttpResponse
    from swimring.testing import SimulatedNetwork

PROBES = ["/livez", "/startupz", "/readyz"]


async def get(site: Site, path: str, **query: str) -> HttpResponse:
    return await site.answer(HttpRequest(method="GET", path=path, query=query))


def content(response: HttpResponse) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


@pytest.mark.parametrize(
    ("stage", "answers"),
    [(Stage.STARTING, [200, 503, 503]), (Stage.SERVING, [200, 200, 200]), (Stage.LEAVING, [200, 200, 503])],
)
async def test_a_process_lives_from_the_first_moment_and_is_ready_only_while_it_serves(
    stage: Stage, answers: list[int]
) -> None:
    site = Site()
    site.health.reached(stage)
    assert [(await get(site, path)).status for path in PROBES] == answers


async def probe(site: Site) -> tuple[list[int], str]:
    """The statuses of all three, and why it is not ready."""
    answers = [await get(site, path) for path in PROBES]
    return [answer.status for answer in answers], content(answers[2]).get("because", "")


async def test_an_admin_address_without_a_port_has_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.socket.socket() as reserve:
        await reserve.bind(("127.0.0.1", 0))
        port = reserve.getsockname()[1]
    monkeypatch.setattr("swimring.admin.http.opening.PORT", port)
    async with open_admin("127.0.0.1", Site()) as url:
        assert url == f"http://127.0.0.1:{port}/"


@simulated
async def test_a_node_without_others_and_the_only_one_of_a_new_service_are_ready_at_once(
    network: SimulatedNetwork,
) -> None:
    alone, new = Site(), Site()
    async with nodes_at(network, "a", Shop().service) as (a,):
        alone.show(a)
        assert await probe(alone) == ([200, 200, 200], "")
        async with node_at(network, "b", Shop("bank").service, join=["a:7979"]) as b:
            new.show(b)
            assert await probe(new) == ([200, 200, 200], "")


@simulated
async def test_a_node_without_its_peers_lives_and_stays_ready(network: SimulatedNetwork) -> None:
    site = Site()
    async with nodes_at(network, "abc", Shop().service) as (a, *_):
        site.show(a)
        with network.isolate("a"):
            await trio.sleep(60)
            assert await probe(site) == ([200, 200, 200], "")


@simulated
async def test_a_node_that_takes_its_keys_in_steps_is_ready_after_the_last(network: SimulatedNetwork) -> None:
    shop, site = Shop(), Site()
    async with nodes_at(network, "ab", shop.service):
        async with node_at(network, "c", shop.service, join=["a:7979"], gradual=True) as c:
            site.show(c)
            statuses, because = await probe(site)
            assert (statuses, "of its keys" in because) == ([200, 200, 503], True)
            await trio.sleep(10)
            assert await probe(site) == ([200, 200, 200], "")


@simulated
async def test_a_node_that_is_cordoned_or_drains_is_not_ready_before_anybody_sends_a_signal(
    network: SimulatedNetwork,
) -> None:
    site = Site()
    async with nodes_at(network, "ab", Shop().service) as (a, _b):
        site.show(a)
        await a.cordon()
        assert await probe(site) == ([200, 200, 503], "it is cordoned")
        await a.uncordon()
        assert await probe(site) == ([200, 200, 200], "")
        await a.ask_to_drain()
        assert await probe(site) == ([200, 200, 503], "it drains")


async def test_a_node_that_is_still_starting_has_nothing_to_show() -> None:
    assert (await get(Site(), "/api/members")).status == 503


async def test_without_metrics_their_page_says_what_to_install() -> None:
    response = await get(Site(), "/metrics")
    assert response.status == 404
    assert "swimring[metrics]" in content(response)["error"]


async def test_writing_and_pages_that_do_not_exist_are_refused() -> None:
    site = Site()
    assert (await site.answer(HttpRequest(method="POST", path="/api/members"))).status == 405
    assert (await get(site, "/api/orders/drain")).status == 405
    assert (await get(site, "/../etc/passwd")).status == 404


@simulated
async def test_what_a_node_knows_can_be_read(network: SimulatedNetwork) -> None:
    shop, site = Shop(), Site(Metrics())
    async with nodes_at(network, "ab", shop.service) as (a, b):
        site.show(a)
        members = content(await get(site, "/api/members"))
        assert [(member["name"], member["status"]) for member in members] == [("a", "alive"), ("b", "alive")]

        ring = content(await get(site, "/api/ring"))
        assert ring["share"] == a.ring().share()
        assert {owner for _, _, owner in ring["arcs"]} == {"a", "b"}
        assert (ring["arcs"][0][0], ring["arcs"][-1][1]) == ("0", str(2**64))

        found = content(await get(site, "/api/lookup", key="k1"))
        assert found["owner"] == a.lookup("k1").name
        assert found["position"] == str(a.ring().position("k1"))

        told = content(await get(site, "/api/node"))
        assert (told["name"], told["services"], told["owned"]["shop"]) == ("a", ["shop"], a.ring().share()["a"])
        assert b'swimring_members{state="alive"} 2.0' in bytes((await get(site, "/metrics")).body)  # type: ignore[arg-type]
        assert b.name == "b"


@simulated
async def test_a_question_that_makes_no_sense_is_the_clients_fault(network: SimulatedNetwork) -> None:
    shop, site = Shop(), Site()
    async with nodes_at(network, "a", shop.service) as (a,):
        site.show(a)
        response = await get(site, "/api/lookup", key="k" * 2000)
        assert response.status == 400
        assert "key" in content(response)["error"]
