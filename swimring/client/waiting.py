"""What the client waits with, on whatever event loop."""

from __future__ import annotations

from typing import Final

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from swimring.service import SessionStream, Waiting


class Signal:
    """One task waits for a word from others; a word said early is not lost."""

    __slots__ = ("_event", "_said")

    def __init__(self) -> None:
        """Nobody waits, nothing was said."""
        self._said = False
        self._event: anyio.Event | None = None

    def say(self) -> None:
        """Wake the task that waits, or the next that will."""
        if self._event is None:
            self._said = True
        else:
            self._event.set()

    async def wait(self) -> None:
        """Wait for a word. It returns at once, without a checkpoint, if one was said since the last time."""
        if self._said:
            self._said = False
            return
        if self._event is not None:
            raise anyio.BusyResourceError("waiting for")
        self._event = anyio.Event()
        try:
            await self._event.wait()
        finally:
            self._event = None


ANY_LOOP: Final = Waiting(
    checkpoint=checkpoint,
    checkpoint_if_cancelled=checkpoint_if_cancelled,
    now=anyio.current_time,
    deadline=anyio.current_effective_deadline,
    signal=Signal,
    closed=anyio.ClosedResourceError,
    busy=lambda: anyio.BusyResourceError("sending on"),
    cancelled=anyio.get_cancelled_exc_class,
    scope=anyio.CancelScope,
    event=anyio.Event,
    open_file=anyio.open_file,
)
"""What everything that waits for a session waits with here."""


class LinkStream(SessionStream):
    """A stream of a call of a client."""

    _waiting = ANY_LOOP
