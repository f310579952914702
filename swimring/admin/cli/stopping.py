"""How signals stop a node: the first one asks it to leave, the second does not wait.

The handler is our own and not `trio.open_signal_receiver`, because the second signal must end the process even if the
event loop is stuck, in a blocking call or in a handler that shields itself from cancellation. Python runs a signal
handler between two bytecodes of the main thread, whatever Trio is doing.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

STOP_WITHIN: Final = 0.8
"""Seconds that cancelled tasks have, after the second signal, before the process exits without them."""
INTERRUPTED: Final = 130

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """What SIGINT and SIGTERM have asked for."""

    def __init__(self, everything: trio.CancelScope) -> None:
        """Nothing yet; the second signal will cancel ``everything``."""
        self.asked: Final = trio.Event()
        """Set by the first signal: leave."""
        self.opening: Final = trio.CancelScope()
        """Cancelled by the first signal until `opened` is called: what takes long to start is not waited for."""
        self._everything = everything
        self._token = trio.lowlevel.current_trio_token()
        self._signals = 0
        self._opened = False

    @property
    def hurried(self) -> bool:
        """Whether the second signal ended the block."""
        return self._everything.cancelled_caught

    def opened(self) -> None:
        """What was started runs: from now on the first signal only asks."""
        self._opened = True

    def leave(self) -> None:
        """Leave, as the first signal asks; what takes long to start is not waited for."""
        self.asked.set()
        if not self._opened:
            self.opening.cancel()

    def receive(self, _number: int, _frame: FrameType | None) -> None:
        """A signal came in; runs between two bytecodes of whatever the main thread does."""
        self._signals += 1
        if self._signals == 2:
            # The last resort: nothing but the end of the process stops a task that does not take its cancellation.
            last_resort = threading.Timer(STOP_WITHIN, os._exit, [INTERRUPTED])
            last_resort.daemon = True
            last_resort.start()
        self._token.run_sync_soon(self.leave if self._signals == 1 else self._everything.cancel)


@contextmanager
def open_stopping() -> Iterator[Stopping]:
    """Receive SIGINT and SIGTERM while the block runs, in Trio's main thread; the second one cancels the block."""
    everything = trio.CancelScope()
    stopping = Stopping(everything)
    before = {number: signal.signal(number, stopping.receive) for number in _SIGNALS}
    try:
        with everything:
            yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
