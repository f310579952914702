"""Single keys of a terminal, without Enter; Ctrl-C stays a signal."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@contextmanager
def open_keys() -> Iterator[AsyncIterator[str] | None]:
    """Keys as they are pressed while the block runs; None where stdin or stdout is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield None
        return
    import termios  # noqa: PLC0415 - not on every system
    import tty  # noqa: PLC0415 - the same

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield _keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


async def _keys(descriptor: int) -> AsyncIterator[str]:
    while True:
        await trio.lowlevel.wait_readable(descriptor)
        pressed = os.read(descriptor, 64)
        if not pressed:
            return
        for key in pressed.decode(errors="ignore"):
            yield key
