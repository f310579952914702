"""Who does not read stops who writes to him, and nobody else on the same connection."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from .nodes import key_of, nodes_at, simulated
from .talking import Library, Studio, Update

if TYPE_CHECKING:
    from swimring.testing import SimulatedNetwork


@simulated
async def test_readers_that_stand_still_hold_up_their_own_writers_only(network: SimulatedNetwork) -> None:
    """Ten of items and ten of streams that came with an answer; calls and items of others pass at their usual speed."""
    studio, library = Studio(), Library()
    async with nodes_at(network, "ab", studio.service, library.service) as (a, b), AsyncExitStack() as stalled:
        studio_key, library_key = (key_of(a, "b", service) for service in (studio.service, library.service))
        for _ in range(10):
            await stalled.enter_async_context(a.open(studio.count, studio_key, 1_000, size=10_000))
            call = await stalled.enter_async_context(a.open(library.fetch, library_key, 1_000_000))
            await call.result()
        await trio.sleep(5)
        asked = trio.current_time()
        async with a.open(studio.count, studio_key, 100) as items:
            assert [item async for item in items] == [Update(number) for number in range(100)]
        async with a.open(library.fetch, library_key, 1_000_000) as another:
            reply = await another.result()
            assert sum([len(chunk) async for chunk in reply.streams["file"]]) == 1_000_000
        assert trio.current_time() - asked < 0.1
        assert b.counters()["refused"] == 0
