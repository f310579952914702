"""SIGHUP makes a running node read its settings, its secret file and its certificates again.

Only a node that has one of these files listens to it: for all others it goes on meaning that the terminal is gone.
"""

from __future__ import annotations

import logging
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import ConfigError
from swimring.observe import check_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from swimring.node import Node

    from .sources import Sources

_log = logging.getLogger("swimring.node")
_CHANGED: Final = {"event": "settings.changed"}
_LOG_LEVEL: Final = "log-level"
_OF_THE_NODE: Final = ("weight", "zone")
"""What a node can be told while it runs, as `Node.update` takes it."""


class Reloading:
    """The signals that came in; those that come while the node opens are obeyed when it has."""

    def __init__(self, signals: AsyncIterator[int] | None, sources: Sources, *, files: bool) -> None:
        """Wait for ``signals``; None where there are none. ``files``: there are keys or certificates."""
        self._signals = signals
        self._sources = sources
        self._files = files

    async def run(self, node: Node) -> None:
        """Reload at each signal, for ever; what is wrong with a file is logged, and what was read before stays."""
        if self._signals is None:
            return
        async for _ in self._signals:
            for reload in (self._reload_settings, self._reload_files):
                try:
                    await reload(node)
                except ConfigError as error:
                    text, facts = "a file was not taken, what it held before stays: %s", {"event": "settings.refused"}
                    _log.error(text, error, extra=facts)

    async def _reload_files(self, node: Node) -> None:
        if self._files:
            await node.reload()

    async def _reload_settings(self, node: Node) -> None:
        before, now = self._sources.settings, self._sources.read_again()
        changed = {name: setting.value for name, setting in now.items() if setting.value != before[name].value}
        level = changed.pop(_LOG_LEVEL, None)
        told = {name: changed.pop(name) for name in _OF_THE_NODE if name in changed}
        if level is not None:
            check_logging(level)
        if told:
            await node.update(**told)
        self._sources.take(now)  # all of it is good: until here nothing had changed
        if level is not None:
            logging.getLogger().setLevel(level.upper())
            _log.warning("the log level is %s now", level, extra=_CHANGED)
        if told:
            news = ", ".join(f"{name} is {value} now" for name, value in told.items())
            _log.info("changed: %s", news, extra=_CHANGED)
        if changed:
            text, facts = "changed in the file, and taken at the next start only: %s", {"event": "settings.pending"}
            _log.warning(text, ", ".join(sorted(changed)), extra=facts)


@contextmanager
def open_reloading(sources: Sources, *, files: bool) -> Iterator[Reloading]:
    """Receive SIGHUP while the block runs, if there is a file to read, and such a signal."""
    if not (files or sources.path) or not hasattr(signal, "SIGHUP"):
        yield Reloading(None, sources, files=files)
        return
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        yield Reloading(signals, sources, files=files)
