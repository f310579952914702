"""Who owns the tasks of a pool: a nursery of its own, or one that is there already.

Each nursery around a call is one more scope that is asked for its deadline with every call made inside of it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def owner_of_tasks(nursery: trio.Nursery | None) -> AsyncIterator[trio.Nursery]:
    """Give ``nursery``, whose owner cancels it after the block; without one, another that ends with the block."""
    if nursery is not None:
        yield nursery
        return
    async with trio.open_nursery() as own:
        try:
            yield own
        finally:
            own.cancel_scope.cancel()
