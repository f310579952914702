"""Every log line from INFO on has a stable name, and the documentation lists them all."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.node.nodes import Shop, key_of, nodes_at, simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from swimring.testing import SimulatedNetwork

ROOT = Path(__file__).parents[2]
SPOKEN = {"info", "warning", "error", "exception", "critical", "log"}
STATUSES = {"alive", "suspect", "dead", "left"}


def sources() -> Iterator[Path]:
    return (ROOT / "swimring").rglob("*.py")


def lines() -> Iterator[tuple[str, ast.Call]]:
    """Every log line of the package, and where it is."""
    for path in sources():
        if "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="_log" | "_refusals"), attr=attr)) if attr in SPOKEN:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node
                case _:
                    pass


def documented() -> set[str]:
    page = (ROOT / "docs" / "concepts" / "observing.md").read_text()
    table = page.partition("| event |")[2].partition("\n\n")[0]
    return set(re.findall(r"`([a-z_]+\.[a-z_]+)`", table))


def test_every_line_from_info_on_has_an_event() -> None:
    without = [where for where, call in lines() if "extra" not in {keyword.arg for keyword in call.keywords}]
    assert without == []


def test_the_documentation_lists_every_event_and_no_other() -> None:
    found = set()
    for path in sources():
        found |= set(re.findall(r'"event": "([a-z_]+\.[a-z_]+)"', path.read_text()))
    assert documented() == found | {f"member.{status}" for status in STATUSES}


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(record, "event", "") for record in caplog.records if record.name.startswith("swimring")]


@simulated
async def test_members_rings_and_orphans_are_told_under_their_names_and_without_keys_or_arguments(
    network: SimulatedNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop()
    service = shop.service

    with caplog.at_level(logging.INFO, "swimring"):
        async with nodes_at(network, "ab", service) as (a, _b):

            async def nap() -> None:
                with trio.move_on_after(1):
                    await a.call(shop.nap, key_of(a, "b"), 1_234.5)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(nap)
                await shop.opened.wait()
                with network.partition("a", "b"):
                    await trio.sleep(120)
        told = events(caplog)
    assert "" not in told
    expected = {
        "node.exposed", "node.alone", "node.joined", "member.alive", "member.suspect", "member.dead", "ring.changed",
        "request.orphaned",
    }  # fmt: skip
    assert expected <= set(told)
    assert "1234.5" not in caplog.text
    record = next(record for record in caplog.records if getattr(record, "event", "") == "member.dead")
    assert record.__dict__["peer"] == "b"


@simulated
async def test_a_drain_is_one_line(network: SimulatedNetwork, caplog: pytest.LogCaptureFixture) -> None:
    async with nodes_at(network, "ab", Shop().service) as (a, b):
        with caplog.at_level(logging.INFO, "swimring.node"):
            async with a.own(key_of(a, "a"), int, replicas=1) as own:
                await own.checkpoint(7)
                await trio.sleep(1)
            await a.drain()
            await trio.sleep(5)
        assert b.owns("k")
    assert events(caplog).count("handoff.done") == 1
