"""A duty that crashes is told, restarted with growing pauses, and given up when it is broken."""

from __future__ import annotations

import pytest
import trio

from swimring.errors import NameConflict
from swimring.gossip.supervision import supervise
from swimring.instrument import Instruments
from tests.gossip.nodes import Recorder, simulated


@simulated
async def test_a_duty_that_crashes_starts_again_after_a_pause() -> None:
    recorder = Recorder()
    starts: list[float] = []

    async def duty() -> None:
        starts.append(trio.current_time() - began)
        if len(starts) < 4:
            raise ValueError("a bug")
        await trio.lowlevel.checkpoint()

    began = trio.current_time()
    await supervise("prober", duty, Instruments([recorder]))
    assert starts == pytest.approx([0, 0.1, 0.3, 0.7])
    assert [(name, str(error)) for name, error in recorder.failed_duties] == [("prober", "a bug")] * 3


@simulated
async def test_a_duty_that_always_crashes_is_given_up() -> None:
    async def duty() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await supervise("prober", duty, Instruments())


@simulated
async def test_a_crash_now_and_then_is_survived_for_ever() -> None:
    starts = 0

    async def duty() -> None:
        nonlocal starts
        starts += 1
        await trio.sleep(61)
        if starts < 50:
            raise ValueError("a rare bug")

    await supervise("prober", duty, Instruments())
    assert starts == 50


@pytest.mark.parametrize("error", [NameConflict("taken"), trio.ClosedResourceError("gone")])
@simulated
async def test_what_cannot_be_repaired_is_not_restarted(error: Exception) -> None:
    async def duty() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(type(error)):
        await supervise("prober", duty, Instruments())
