"""SIGHUP makes a running node read its secret file again.

Only a node with a secret file listens to it: for all others it goes on meaning that the terminal is gone.
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
        """Reload at each signal, for ever; what is wrong with the file is logged, and the keys stay."""
        if self._signals is None:
            return
        async for _ in self._signals:
            try:
                await node.reload_secret()
            except ConfigError as error:
                _log.error("the secret file was not taken, the keys stay what they are: %s", error)


@contextmanager
def open_reloading(secret_file: str | None) -> Iterator[Reloading]:
    """Receive SIGHUP while the block runs, if there is a ``secret_file`` to read, and such a signal."""
    if secret_file is None or not hasattr(signal, "SIGHUP"):
        yield Reloading(None)
        return
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        yield Reloading(signals)
