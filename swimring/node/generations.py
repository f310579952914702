"""Which generation a life gets: later than every earlier one, even if the wall clock was set back in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swimring.errors import StoreError

if TYPE_CHECKING:
    from swimring.identity import Generation
    from swimring.service import Store

FILE: Final = "swimring-generation"
"""The last generation, in decimal digits."""


async def new_generation(store: Store | None, *, now_ms: int) -> Generation:
    """The generation of a life that begins at ``now_ms``; on the disk, if there is one, before anybody hears of it.

    Raises:
        StoreError: the disk cannot be used, or the last generation cannot be read.
    """
    if store is None:
        return now_ms
    last = await store.read(FILE)
    if last is not None and not (last.isdigit() and len(last) < 20):
        raise StoreError(FILE, f"holds {last[:40]!r}, which is no generation: delete it if this node's clock is right")
    generation = now_ms if last is None else max(now_ms, int(last) + 1)
    await keep_generation(store, generation)
    return generation


async def keep_generation(store: Store | None, generation: Generation) -> None:
    """The next life has to begin later than ``generation``."""
    if store is not None:
        await store.write(FILE, b"%d" % generation)
