"""Keys with state as mypy --strict and pyright strict see them: what passes, and what must not.

Checked, not run.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_type

from swimring import Fence, KeyState, Request, Service

if TYPE_CHECKING:
    from swimring import Node


@dataclass
class Count:
    value: int = 0


app = Service("counter")
counters = app.own_keys(Count, replicas=2, initial=lambda: Count(1))


@app.on("add")
async def add(request: Request, by: int) -> int:
    own = counters.of(request)
    assert_type(own, KeyState[Count])
    own.state.value += by
    own.state = 5  # type: ignore[assignment]
    await own.checkpoint()
    assert_type(own.fence, Fence)
    return own.state.value


async def cron(node: Node) -> None:
    async with node.own("cron:nightly", Count, replicas=1) as own:
        state = await own.restore() or Count()
        assert_type(state, Count)
        await own.checkpoint(state)
        await own.checkpoint("text")  # type: ignore[arg-type]
        assert_type(own.fence.number, int)
        assert_type(own.moved, str | None)
        assert_type(own.left, float)
    assert_type(await node.call(add, "k", 3), int)
