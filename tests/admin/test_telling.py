"""What is drawn of a ring, and how reports of nodes are added up."""

from __future__ import annotations

from typing import Any

import pytest

from swimring.admin.http.asking import handlers_of
from swimring.admin.http.telling import SHOWN_ARCS, drawn
from swimring.observe.traffic import bucket_of
from swimring.ring import CIRCLE, HashRing, ring_seed


def ring_of(nodes: int, points: int = 128) -> HashRing:
    return HashRing.build({f"n{number:03}": 1.0 for number in range(nodes)}, seed=ring_seed("test"), points=points)


def owner_drawn(told: dict[str, Any], at: float) -> str:
    number = [owner for start, owner in told["arcs"] if start <= at][-1]
    return str(told["nodes"][number])


def test_what_is_drawn_has_the_owner_of_every_key() -> None:
    ring, told = ring_of(5), drawn(ring_of(5))
    assert told["arcs"][0][0] == 0
    assert all(before[1] != after[1] for before, after in zip(told["arcs"], told["arcs"][1:], strict=False))
    for number in range(500):
        assert owner_drawn(told, ring.position(f"k{number}") / CIRCLE) == ring.lookup(f"k{number}")


def test_of_a_ring_with_very_many_ranges_as_much_is_told_as_can_be_seen() -> None:
    ring, told = ring_of(60), drawn(ring_of(60))
    assert len(list(ring.ranges())) > SHOWN_ARCS >= len(told["arcs"])
    for number in range(0, SHOWN_ARCS, 7):
        at = (2 * number + 1) / (2 * SHOWN_ARCS)
        assert owner_drawn(told, at) == ring.owner_at(int(at * CIRCLE))


def test_a_ring_that_nobody_is_on_can_be_drawn() -> None:
    told = drawn(ring_of(0))
    assert (told["nodes"], told["arcs"], told["share"]) == ([], [], {})


def row(cmd: str, rate: float, seconds: float, count: int) -> dict[str, Any]:
    return {
        "ns": "shop", "cmd": cmd, "rate": rate, "handled": count, "failed": 1, "cancelled": 0, "calls": 0, "retried": 2,
        "given_up": 0, "history": [0, count], "buckets": [[bucket_of(seconds), count]],
    }  # fmt: skip


def test_percentiles_are_those_of_all_calls_and_not_of_the_nodes() -> None:
    told: list[dict[str, Any]] = [
        {"name": "a", "traffic": [row("add", 9.0, 0.001, 990)]},
        {"name": "b", "traffic": [row("add", 1.0, 1.0, 10), row("pay", 0.1, 0.5, 1)]},
        {"name": "c", "error": "it is gone"},
    ]
    add, pay = handlers_of(told)
    assert (add["cmd"], add["rate"], add["handled"], add["failed"], add["retried"]) == ("add", 10.0, 1000, 2, 4)
    assert add["on"] == {"a": 9.0, "b": 1.0}
    assert add["history"] == [0, 1000]
    assert add["p50"] == pytest.approx(0.001, rel=0.1)
    assert add["p99"] == pytest.approx(0.001, rel=0.1)  # the slow node had one call in a hundred, not more
    assert pay["p50"] == pytest.approx(0.5, rel=0.1)
