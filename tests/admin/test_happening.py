"""What `swimring tail` says of the difference between two views, how `swimring ring` draws one, how a drain ended."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from swimring.admin.cli.drawing import describe_ring, share_rows, strip
from swimring.admin.cli.happening import happened
from swimring.admin.cli.operating import farewell
from swimring.errors import CallError
from swimring.identity import Address, Generation, Incarnation
from swimring.ring import HashRing, ring_seed
from swimring.swim import Member, Metadata, Phase, Standing, Status


def member(name: str = "a", *, generation: int = 1, status: Status = Status.ALIVE, weight: int = 1) -> Member:
    return Member(
        name=name,
        address=Address("127.0.0.1", 1),
        generation=Generation(generation),
        incarnation=Incarnation(1),
        status=status,
        metadata=Metadata(weight=weight),
    )


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ([], [member()], ["join"]),
        ([member()], [member()], []),
        ([member()], [member(status=Status.SUSPECT)], ["suspect"]),
        ([member(status=Status.SUSPECT)], [member()], ["refute"]),
        ([member()], [member(status=Status.DEAD)], ["dead"]),
        ([member(status=Status.DEAD)], [member(generation=2)], ["join"]),
        ([member()], [member(generation=2)], ["restart"]),
        ([member()], [member(status=Status.LEFT)], ["left"]),
        ([member(status=Status.DEAD)], [], ["forgotten"]),
        ([member()], [member(weight=3)], ["update"]),
        ([member()], [member("b"), member()], ["join"]),
    ],
)
def test_the_difference_of_two_views_is_told_in_events(
    before: list[Member], after: list[Member], kinds: list[str]
) -> None:
    assert [one.kind for one in happened(before, after)] == kinds


def test_cordon_drain_and_uncordon_are_told() -> None:
    serving = member()
    cordoned = replace(serving, metadata=serving.metadata.with_standing(Standing(phase=Phase.CORDONED)))
    draining = replace(serving, metadata=serving.metadata.with_standing(Standing(phase=Phase.DRAINING)))
    in_part = replace(serving, metadata=serving.metadata.with_standing(Standing(share=4)))
    views = [[serving], [cordoned], [serving], [in_part], [serving], [draining]]
    told = [one.kind for before, after in itertools.pairwise(views) for one in happened(before, after)]
    assert told == ["cordon", "uncordon", "share", "uncordon", "drain"]


def test_a_ring_is_drawn_with_shares_and_a_strip_that_shows_them() -> None:
    ring = HashRing.build({"a": 1, "b": 3}, seed=ring_seed("x"))
    told = describe_ring(ring, service="s")
    assert sum(node["share"] for node in told["nodes"]) == pytest.approx(1)
    assert {owner for _, _, owner in told["arcs"]} == {"a", "b"}
    drawn = strip(ring, width=10_000)
    assert set(drawn) == {"A", "B"}
    assert drawn.count("B") / len(drawn) == pytest.approx(ring.share()["b"], abs=0.02)
    rows = share_rows(ring)
    assert [row[1] for row in rows] == ["a", "b"]
    assert len(rows[1][-1]) == 30 > len(rows[0][-1])
    assert strip(HashRing.build({}, seed=ring_seed("x")), width=3) == "   "


@pytest.mark.parametrize(
    ("gone", "done"), [(member(status=Status.LEFT), False), (None, False), (member(status=Status.DEAD), True)]
)
def test_a_member_that_said_so_itself_or_to_the_others_has_left(gone: Member | None, done: bool) -> None:
    assert farewell("a", gone, done=done) == "left"


def test_a_member_that_dies_while_it_drains_has_not_left() -> None:
    with pytest.raises(CallError, match="a died while it drained"):
        farewell("a", member(status=Status.DEAD), done=False)
