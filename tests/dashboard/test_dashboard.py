"""The page in a real Chromium, served by real processes: `nox -s dashboard`."""

from __future__ import annotations

import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from .cluster import TOKEN, customers, shops
from .shop import read
from .webdriver import ENTER, ESCAPE, MISSING, RIGHT, TAB, Browser, open_browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.node import Node

    from .cluster import Cluster

AUDIT = (Path(__file__).parent / "auditing.js").read_text()
READY = """
const members = document.querySelectorAll("#members tbody tr");
return members.length === arguments[0] && document.querySelector("#traffic tbody tr");
"""
SETTLED = """
const there = innerWidth === arguments[0] && matchMedia(`(prefers-color-scheme: ${arguments[1]})`).matches;
window.settled = there ? (window.settled || 0) + 1 : 0;
if (window.settled < 5) return false;
window.settled = 0;
return true;
"""
DRAWN = """
return document.querySelector("#running .call") && !document.querySelector("#trips-empty:not([hidden])")
"""
MISSED = """
return [...document.querySelectorAll("a, button, input, select, [tabindex='0']")]
  .filter((each) => !each.disabled && each.checkVisibility() && each.getClientRects().length && !each.closest("dialog"))
  .filter((each) => !window.reached.has(each)).map((each) => each.outerHTML)
"""
TYPE = """
const field = document.getElementById("key");
field.value = arguments[0];
field.dispatchEvent(new Event("input"));
"""
MARK = "window.reached = new Set(); document.addEventListener('focusin', (event) => window.reached.add(event.target))"
FOCUSED = """
const each = document.activeElement, style = getComputedStyle(each);
const labels = each.labels ? [...each.labels].map((label) => label.textContent) : [];
return {
  what: `${each.tagName} ${each.id} ${each.getAttribute("class")}`,
  name: [each.getAttribute("aria-label"), each.title, each.textContent, ...labels].find((text) => text?.trim()) || "",
  visible: style.outlineStyle !== "none" || each.closest("svg") !== null && parseFloat(style.strokeWidth) > 0.5,
  end: each === document.body,
}
"""


@pytest.fixture(autouse=True)
def _browser(pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("browser"):
        pytest.skip("drives a real Chromium: nox -s dashboard")
    if MISSING:
        pytest.skip(f"no {' and no '.join(MISSING)}: apt install chromium chromium-driver")


@asynccontextmanager
async def opened(folder: Path, names: str = "abc") -> AsyncIterator[tuple[Cluster, Node, Browser]]:
    """A cluster that is called all the time, and the page of its first node when it shows all of that."""
    name = f"dash-{folder.name}-{os.getpid()}"
    with trio.fail_after(150):
        async with shops(name, folder, names) as cluster, customers(cluster, name) as node, open_browser() as browser:
            await browser.show(width=1400)
            await browser.go(cluster.urls["node-a"])
            await browser.until(READY, len(names) + 1)
            yield cluster, node, browser
            assert [each for each in await browser.complaints() if "/api/orders/" not in each] == []


async def click(browser: Browser, selector: str) -> None:
    await browser.run("document.querySelector(arguments[0]).click()", selector)


async def test_a_node_that_is_drained_from_the_page_moves_the_ring_and_is_on_the_time_line(tmp_path: Path) -> None:
    async with opened(tmp_path) as (cluster, _, browser):
        assert await browser.run("return document.getElementById('ring').dataset.moved") is None
        await click(browser, "[aria-label='drain node-b']")
        await browser.run("document.getElementById('token').value = 'wrong'")
        await click(browser, "#order-do")
        assert await browser.until("return document.getElementById('order-error').textContent") == "wrong token"
        await browser.run("document.getElementById('token').value = arguments[0]", TOKEN)
        await click(browser, "#order-do")
        await browser.until("return document.querySelector('#ring .moving')")
        await browser.until("return !document.getElementById('order').open")
        await browser.until("return document.querySelector('#members [data-key=node-b] .state.left')")
        legend = "return [...document.querySelectorAll('#legend li')].map((each) => each.dataset.key).join()"
        assert await browser.run(legend) == "node-a,node-c"
        moved = float(await browser.run("return document.getElementById('ring').dataset.moved"))
        assert 0.15 < moved < 0.6
        assert "node-b → node-" in await browser.run("return document.querySelector('#moves li').textContent")
        kinds = await browser.run(
            "return [...document.querySelectorAll('#timeline .kind')].map((each) => each.textContent)"
        )
        assert {"drain", "left", "ring", "gained"} <= set(kinds)
        assert await cluster.nodes["node-b"].wait_ended() == 0
        await browser.until("return !document.querySelector('#ring .moving')")


async def test_a_node_that_is_killed_is_dead_on_the_page_and_its_keys_are_the_others(tmp_path: Path) -> None:
    async with opened(tmp_path) as (cluster, _, browser):
        cluster.nodes["node-c"].signal(signal.SIGKILL)
        await browser.until("return document.querySelector('#members [data-key=node-c] .state.dead')")
        await browser.until("return document.getElementById('ring').dataset.moves")
        shares = await browser.run(
            "return [...document.querySelectorAll('#legend .num')].map((each) => parseFloat(each.textContent))"
        )
        assert len(shares) == 2
        assert sum(shares) == pytest.approx(100, abs=0.2)
        # What is announced to screen readers and drawn in grey is still to be read.
        assert await browser.run(AUDIT) == []


async def test_the_page_says_when_its_node_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path, "ab") as (cluster, _, browser):
        cluster.nodes["node-a"].signal(signal.SIGTERM)
        await browser.until("return document.getElementById('link').dataset.state === 'lost'")
        assert await cluster.nodes["node-a"].wait_ended() == 0
        complaints = await browser.complaints()
        assert all("/api/events" in each for each in complaints)


async def test_it_is_readable_on_a_phone_and_on_a_screen_by_day_and_by_night(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, _, browser):
        await click(browser, "#legend button")
        await browser.run("document.getElementById('run').requestSubmit()")
        await browser.until(DRAWN)
        faults = {}
        for width in (400, 800, 1400):
            for theme in ("light", "dark"):
                await browser.show(width=width, theme=theme, motion="reduce")
                await browser.until(SETTLED, width, theme)
                faults[width, theme] = await browser.run(AUDIT)
        assert {drawn: found for drawn, found in faults.items() if found} == {}


async def test_the_theme_can_be_chosen_against_that_of_the_system(tmp_path: Path) -> None:
    async with opened(tmp_path, "a") as (_, _, browser):
        colour = "return getComputedStyle(document.body).backgroundColor"
        by_day = await browser.run(colour)
        await browser.show(width=1400, theme="dark")
        await browser.until(f"{colour} !== arguments[0]", by_day)
        by_night = await browser.run(colour)
        await click(browser, "#theme")
        assert await browser.run(colour) == by_day
        await click(browser, "#theme")
        assert await browser.run(colour) == by_night


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, _, browser):
        await browser.run(MARK)
        stops: list[dict[str, Any]] = []
        while True:
            await browser.press(TAB)
            stop = await browser.run(FOCUSED)
            if stop["end"]:
                break
            stops.append(stop)
            assert len(stops) < 200
        assert [stop["what"] for stop in stops if not stop["name"].strip()] == []
        assert [stop["what"] for stop in stops if not stop["visible"]] == []
        assert await browser.run(MISSED) == []
        await browser.run("document.querySelector('#ring .arcs[data-key=node-a]').focus()")
        await browser.press(ENTER)
        chosen = "return document.getElementById('arc').textContent"
        assert "% of all keys, in" in await browser.run(chosen)
        await browser.press(RIGHT)
        assert "range 1 of" in await browser.run(chosen)
        await browser.until("return document.getElementById('arc').textContent.includes('called in a minute')")
        await browser.press(ESCAPE)
        assert "Choose a range" in await browser.run(chosen)


async def test_a_typed_key_is_shown_where_it_lies_and_who_runs_for_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, node, browser):
        owner = node.lookup("lobby", service="shop").name
        await browser.run("document.getElementById('key').focus()")
        await browser.press(*"lobby")
        found = "return document.getElementById('found').textContent"
        await browser.until(f"{found}.includes('owns it')")
        assert owner in (await browser.run(found)).split(" owns it")[0]
        assert await browser.run("return document.querySelectorAll('#ring .pin circle').length") == 3
        await browser.run("document.getElementById('run-key').focus()")
        await browser.press(*"lobby", ENTER)
        told = await browser.until("return (document.querySelector('#running .call') || {}).textContent")
        assert "shop watch" in told
        assert owner in told
        assert "watch (shop.py:" in told
        assert "ticking" in told


async def test_keys_that_are_tracked_are_named_beside_their_node(tmp_path: Path) -> None:
    async with opened(tmp_path, "ab") as (_, node, browser):
        row = f"#held [data-key={node.lookup('lobby', service='shop').name}]"
        cell = f"document.querySelector(\"{row} [data-label='Tracked keys']\")"
        await browser.until(f"return ({cell} || {{}}).textContent === 'all 1shop lobby'")


async def test_each_member_shows_its_version_and_its_streams_and_those_that_wait_for_a_reader(tmp_path: Path) -> None:
    row = "return document.querySelector('#members [data-key=customers]').textContent"
    async with opened(tmp_path, "ab") as (_, node, browser), trio.open_nursery() as nursery:
        await browser.until(f"{row}.includes('version {node.statistics().version}')")
        nursery.start_soon(node.call, read.with_streams(book=bytes(3_000_000)), "cart-1")
        await browser.until(f"{row}.includes('1 of 1 wait')")
        assert await browser.run(AUDIT) == []
        nursery.cancel_scope.cancel()


async def test_what_others_make_up_is_shown_as_text(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=\"document.title='hit'\">"
    async with opened(tmp_path, "a") as (_, node, browser):
        for _ in range(200):  # so that it is among the busiest
            await node.request({"ns": "shop", "cmd": "price", "key": hostile}, idempotent=True)
        await click(browser, "#legend button")
        await browser.until("return document.getElementById('arc').textContent.includes('onerror')")
        await browser.run(TYPE, hostile)
        await browser.until("return document.getElementById('found').textContent.includes('owns it')")
        assert await browser.run("return document.querySelectorAll('main img').length") == 0
        assert "hit" not in await browser.run("return document.title")
