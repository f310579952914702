"""Orders are for whoever has the token, from this port's own page, and nobody else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from swimring.admin.http import HttpRequest, Site, Steering, open_site, read_token
from swimring.errors import ConfigError
from tests.node.nodes import Shop, nodes_at, simulated

if TYPE_CHECKING:
    from pathlib import Path

    from swimring.admin.http import HttpResponse
    from swimring.testing import SimulatedNetwork

TOKEN = "a-token-that-nobody-guesses"
GOOD = {
    "host": "localhost:8079",
    "origin": "http://localhost:8079",
    "content-type": "application/json",
    "authorization": f"Bearer {TOKEN}",
}


def site_with_token() -> Site:
    return Site(steering=Steering(TOKEN.encode()))


async def order(site: Site, name: str, node: Any, *, body: bytes | None = None, **headers: str | None) -> HttpResponse:
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    text = json.dumps({"node": node}).encode() if body is None else body
    return await site.answer(HttpRequest(method="POST", path=f"/api/orders/{name}", headers=sent, body=text))


def told(response: HttpResponse) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


@simulated
async def test_without_a_token_of_its_own_the_port_takes_no_orders_whatever_is_sent(network: SimulatedNetwork) -> None:
    shop, site = Shop(), Site()
    async with nodes_at(network, "ab", shop.service) as (a, _):
        site.show(a)
        refused = await order(site, "cordon", "b")
        assert refused.status == 403
        assert "--admin-write" in told(refused)["error"]
        assert (await order(site, "cordon", "b", authorization="Bearer ")).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": None}, 401),
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": "Bearer \xff\xfe"}, 401),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:8080"}, 403),
        ({"origin": "http://localhost:8079.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"content_type": None}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "application/jsonp"}, 415),
    ],
)
def test_an_order_that_any_page_could_send_is_refused(headers: dict[str, Any], status: int) -> None:
    @simulated
    async def scenario(network: SimulatedNetwork) -> None:
        shop, site = Shop(), site_with_token()
        async with nodes_at(network, "ab", shop.service) as (a, b):
            site.show(a)
            refused = await order(site, "cordon", "b", **headers)
            assert refused.status == status
            assert TOKEN not in told(refused)["error"]
            assert b.standing.phase == a.standing.phase
            if status == 401:
                assert refused.headers["WWW-Authenticate"].startswith("Bearer")

    scenario()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"5", b'"b"', b"{}", b'{"node": 5}', b'{"node": ""}', b"[" * 60_000, b"\xff", b'{"node": null}',
     json.dumps({"node": "x" * 300}).encode()],
)  # fmt: skip
def test_a_body_that_is_no_order_is_the_clients_fault(body: bytes) -> None:
    @simulated
    async def scenario(network: SimulatedNetwork) -> None:
        shop, site = Shop(), site_with_token()
        async with nodes_at(network, "a", shop.service) as (a,):
            site.show(a)
            assert (await order(site, "cordon", "", body=body)).status == 400

    scenario()


@simulated
async def test_an_order_there_is_not_is_named_as_such(network: SimulatedNetwork) -> None:
    shop, site = Shop(), site_with_token()
    async with nodes_at(network, "a", shop.service) as (a,):
        site.show(a)
        refused = await order(site, "destroy", "a")
        assert (refused.status, "drain" in told(refused)["error"]) == (404, True)


@simulated
async def test_a_node_is_cordoned_and_uncordoned_from_the_page_of_another_and_of_its_own(
    network: SimulatedNetwork,
) -> None:
    shop, site = Shop(), site_with_token()
    async with nodes_at(network, "ab", shop.service) as nodes:
        site.show(nodes[0])
        for node in nodes:
            assert told(await order(site, "cordon", node.name)) == {"order": "cordon", "node": node.name}
            for each in nodes:
                await each.wait_ring(nodes=1)
                assert node.name not in each.ring().nodes
            assert (await order(site, "uncordon", node.name, origin=None)).status == 200  # a program sends none
            for each in nodes:
                await each.wait_ring(nodes=2)


@simulated
async def test_a_drain_is_asked_for_and_the_answer_does_not_wait_until_it_is_over(network: SimulatedNetwork) -> None:
    shop, site = Shop(), site_with_token()
    async with nodes_at(network, "ab", shop.service) as nodes:
        site.show(nodes[0])
        for node in reversed(nodes):
            assert (await order(site, "drain", node.name)).status == 200
            await node.wait_drain_asked()


@simulated
async def test_an_evicted_member_is_dead_for_all(network: SimulatedNetwork) -> None:
    shop, site = Shop(), site_with_token()
    async with nodes_at(network, "abc", shop.service) as (a, b, _):
        site.show(a)
        with network.isolate("c"):  # or it hears of it, and its own block ends with the error
            assert (await order(site, "evict", "c")).status == 200
            await b.wait_ring(nodes=2)


@simulated
async def test_what_cannot_be_done_says_why(network: SimulatedNetwork) -> None:
    shop, site = Shop(), site_with_token()
    async with nodes_at(network, "a", shop.service) as (a,):
        site.show(a)
        for name in ("cordon", "drain", "evict"):
            refused = await order(site, name, "nobody")
            assert (refused.status, "nobody" in told(refused)["error"]) == (502, True)
        assert (await order(site, "evict", "a")).status == 502  # by whom?
        await a.ask_to_drain()
        refused = await order(site, "cordon", "a")
        assert (refused.status, "drains" in told(refused)["error"]) == (409, True)


def test_a_token_is_read_from_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    assert read_token(str(file)) == TOKEN.encode()
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(str(file))


@pytest.mark.parametrize("text", ["", "short", "two words that are long enough", "ümlaut-ümlaut-ümlaut"])
def test_a_token_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="at least 16 ASCII"):
        read_token(str(file))


def test_orders_without_a_token_file_are_an_error_that_says_how_to_make_one() -> None:
    with pytest.raises(ConfigError, match="--admin-token-file"):
        open_site(write=True)
    with pytest.raises(ConfigError, match="no such file"):
        open_site(write=True, token_file="/nonexistent")
    assert not open_site(token_file="/nonexistent").steering.writable  # unread without --admin-write
