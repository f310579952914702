"""SIGHUP makes a running node read its secret file and its certificates again.

Only a node that has one of them listens to it: for all others it goes on meaning that the terminal is gone.
"""

from __future__ import annotations

import logging
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from swimring.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from swimring.node import Node

_log = logging.getLogger("swimring.node")


class Reloading:
    """The signals that came in; those that come while the node opens are obeyed when it has."""

    def __init__(self, signals: AsyncIterator[int] | None) -> None:
        """Wait for ``signals``; None where there are none."""
        self._signals = signals

    async def run(self, node: Node) -> None:
        """Reload at each signal, for ever; what is wrong with a file is logged, and what was read before stays."""
        if self._signals is None:
            return
        async for _ in self._signals:
            try:
                await node.reload()
            except ConfigError as error:
                _log.error("a file was not taken, what it held before stays: %s", error)


@contextmanager
def open_reloading(*, files: bool) -> Iterator[Reloading]:
    """Receive SIGHUP while the block runs, if there are ``files`` to read, and such a signal."""
    if not files or not hasattr(signal, "SIGHUP"):
        yield Reloading(None)
        return
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        yield Reloading(signals)
