"""Trio in a thread beside the test, for tests that run on another event loop."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")


@contextmanager
def entered_beside(opening: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """What ``opening`` gives, entered in a thread of its own until the block ends."""
    told: queue.Queue[tuple[T, trio.lowlevel.TrioToken, trio.Event]] = queue.Queue()

    async def run() -> None:
        stop = trio.Event()
        async with opening() as value:
            told.put((value, trio.lowlevel.current_trio_token(), stop))
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(run,), daemon=True)
    thread.start()
    value, token, stop = told.get(timeout=20)
    try:
        yield value
    finally:
        token.run_sync_soon(stop.set)
        thread.join(20)
