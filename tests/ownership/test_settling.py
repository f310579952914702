"""When a node takes its share in steps, and whose places are kept, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from swimring.ownership import (
    STEP,
    STEP_INTERVAL,
    Rebalancer,
    Settling,
    somebody_drains,
    takes_steps,
)
from swimring.swim import FULL_SHARE, LAST_INCARNATION, Member, Metadata, Phase, Standing, Status
from tests.ownership.test_rebalancer import Table, member

if TYPE_CHECKING:
    from collections.abc import Callable


def standing(one: Member, **values: int) -> Member:
    return replace(one, metadata=one.metadata.with_standing(Standing(**values)))  # type: ignore[arg-type]


ME = member("me")
SETTLED, STATEFUL = member("b"), standing(member("b"), stateful=True)


@pytest.mark.parametrize(
    ("others", "by_default", "if_asked"),
    [
        ([], False, False),
        ([SETTLED], False, True),
        ([STATEFUL], True, True),
        ([SETTLED, standing(member("c"), stateful=True)], True, True),
        ([standing(member("b"), share=4, stateful=True)], False, False),
        ([standing(member("b"), phase=Phase.CORDONED, stateful=True)], False, False),
        ([standing(member("b", "chat"), stateful=True)], False, False),
        ([standing(member("b", weight=0), stateful=True)], False, False),
        ([standing(member("b", status=Status.DEAD), stateful=True)], False, False),
    ],
    ids=["alone", "no state", "state", "state on one", "all settle in", "cordoned", "other service", "client", "dead"],
)
def test_steps_are_for_who_joins_members_that_have_settled_and_hold_state(
    others: list[Member], by_default: bool, if_asked: bool
) -> None:
    members = [ME, *others]
    assert takes_steps(ME, members, gradual=None) is by_default
    assert takes_steps(ME, members, gradual=True) is if_asked
    assert takes_steps(ME, members, gradual=False) is False


def test_who_drains_matters_to_those_on_the_same_ring() -> None:
    draining = standing(member("b"), phase=Phase.DRAINING)
    assert somebody_drains(ME, [ME, draining])
    assert not somebody_drains(ME, [ME, standing(member("b", "chat"), phase=Phase.DRAINING)])
    assert not somebody_drains(ME, [standing(ME, phase=Phase.DRAINING), SETTLED])
    assert not somebody_drains(ME, [ME, replace(draining, status=Status.LEFT)])


class Voice:
    """A membership that remembers when this node took which share."""

    def __init__(self, *others: Member) -> None:
        self.me = ME
        self.others = list(others)
        self.taken: list[tuple[float, int]] = []
        self.changed = trio.Event()
        self.brings = 0.0
        self.published = 0

    @property
    def members(self) -> tuple[Member, ...]:
        return (self.me, *self.others)

    async def update_metadata(self, change: Callable[[Metadata], Metadata]) -> None:
        await trio.lowlevel.checkpoint()
        self.me = replace(self.me, metadata=change(self.me.metadata))
        self.taken.append((round(trio.current_time(), 2), self.me.metadata.standing.share))

    async def wait_change(self) -> None:
        await self.changed.wait()

    async def wait_brought(self) -> None:
        await trio.sleep(self.brings)

    def publish(self) -> None:
        assert self.taken[-1][1] == self.me.metadata.standing.share
        self.published += 1

    def settling(self) -> Settling:
        return Settling(
            self,
            gradual=None,
            wait_change=self.wait_change,
            wait_brought=self.wait_brought,
            publish=self.publish,
        )


async def test_the_steps_are_quarters_a_second_apart(autojump_clock: trio.testing.MockClock) -> None:
    voice = Voice(STATEFUL)
    await voice.settling().begin()
    await voice.settling().run()
    assert voice.taken == [(0, STEP), (1, 2 * STEP), (2, 3 * STEP), (3, FULL_SHARE)]
    assert (STEP, STEP_INTERVAL) == (4, 1.0)


async def test_a_step_waits_for_the_state_of_the_one_before_for_ten_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    voice = Voice(STATEFUL)
    await voice.settling().begin()
    voice.brings = 4.0
    with trio.move_on_after(9):
        await voice.settling().run()
    voice.brings = 1_000.0
    await voice.settling().run()
    assert voice.taken == [(0, 4), (5, 8), (20, 12), (31, 16)]


async def test_each_step_is_published_at_once(autojump_clock: trio.testing.MockClock) -> None:
    voice = Voice(STATEFUL)
    await voice.settling().begin()
    await voice.settling().run()
    assert voice.published == len(voice.taken) == 4


async def test_the_first_node_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    voice = Voice()
    await voice.settling().begin()
    await voice.settling().run()
    assert voice.taken == []


async def test_no_step_is_taken_while_somebody_drains_not_even_the_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    voice = Voice(STATEFUL, standing(member("c"), phase=Phase.DRAINING))

    async def leave() -> None:
        await trio.sleep(10)
        del voice.others[1]
        voice.changed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        await voice.settling().begin()
        assert voice.me.metadata.ring_weight == 0
        await voice.settling().run()
    assert voice.taken == [(0, 0), (10, 4), (11, 8), (12, 12), (13, 16)]


async def test_a_drain_that_does_not_end_is_waited_for_half_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    voice = Voice(STATEFUL, standing(member("c"), phase=Phase.DRAINING))
    await voice.settling().begin()
    with trio.move_on_after(32):
        await voice.settling().run()
    assert voice.taken == [(0, 0), (31, 4)]


async def test_who_is_left_alone_while_it_settles_in_takes_everything(autojump_clock: trio.testing.MockClock) -> None:
    voice = Voice(STATEFUL)
    await voice.settling().begin()
    voice.others.clear()
    await voice.settling().run()
    assert voice.taken == [(0, 4), (1, 16)]


# ------------------------------------------------------------------------------------------------------ places kept


class Rings:
    """A rebalancer and the records it is shown."""

    def __init__(self, *members: Member) -> None:
        self.rings = Rebalancer(Table(*members), cluster="test")

    def turn(self, *members: Member) -> frozenset[str]:
        self.rings.update(members)
        self.rings.flush()
        return self.rings.snapshot.kept


A, B = member("a"), standing(member("b"), hold=30)


@pytest.mark.parametrize("status", [Status.DEAD, Status.LEFT])
async def test_the_place_of_who_comes_back_is_kept_while_it_is_gone(
    status: Status, autojump_clock: trio.testing.MockClock
) -> None:
    rings = Rings(A, B)
    assert rings.turn(A, replace(B, status=status)) == {"b"}
    assert list(rings.rings.ring("kv").nodes) == ["a"], "somebody has to serve its keys"
    await trio.sleep(10)
    assert rings.rings.kept_for("b") == pytest.approx(20)
    assert rings.turn(A, replace(B, generation=2)) == frozenset()
    assert rings.rings.kept_for("b") == pytest.approx(20), "it asks when it is back"
    assert rings.rings.kept_for("a") == 0


async def test_when_the_time_is_over_a_new_snapshot_says_so(autojump_clock: trio.testing.MockClock) -> None:
    rings = Rings(A, B)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rings.rings.run)
        assert rings.turn(A, replace(B, status=Status.DEAD)) == {"b"}
        sequence, began = rings.rings.sequence, trio.current_time()
        snapshot = await rings.rings.wait_changed(sequence)
        assert trio.current_time() - began == pytest.approx(30)
        assert snapshot.kept == frozenset()
        assert rings.rings.kept_for("b") == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "gone",
    [
        replace(member("b"), status=Status.DEAD),
        replace(B, status=Status.DEAD, incarnation=LAST_INCARNATION),
        replace(standing(B, hold=0), status=Status.LEFT),
    ],
    ids=["never said it", "evicted", "drained for good"],
)
async def test_no_place_is_kept_for_who_does_not_come_back(gone: Member) -> None:
    before = B if gone.incarnation == LAST_INCARNATION or gone.status is Status.LEFT else member("b")
    assert Rings(A, before).turn(A, gone) == frozenset()


async def test_a_place_is_given_up_when_it_turns_out_that_nobody_comes_back() -> None:
    rings = Rings(A, B)
    assert rings.turn(A, replace(B, status=Status.DEAD)) == {"b"}
    assert rings.turn(A, replace(standing(B, hold=0), status=Status.LEFT, incarnation=1)) == frozenset()


async def test_a_restart_that_nobody_saw_end_is_a_return_as_well() -> None:
    rings = Rings(A, B)
    assert rings.turn(A, replace(B, generation=2)) == frozenset()
    assert rings.rings.kept_for("b") == pytest.approx(30, abs=1)
