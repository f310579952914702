"""Everything that can be observed in a node, as methods that do nothing.

An observer subclasses `Instrument`, overrides what it wants to hear and returns quickly: hooks run synchronously, in
the task that caused them. Instruments observe and never inject. One that raises is dropped and logged; the node
goes on (the precedent is Trio's own instruments).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .identity import Key

REFUSAL_LOG_INTERVAL: Final = 10.0
"""Seconds between two log lines about refused bytes, for each port: whoever sends them must not fill the disk."""

_log = logging.getLogger("swimring.instrument")
_refusals = logging.getLogger("swimring.refusals")
_P = ParamSpec("_P")


class Instrument:
    """An observer; every hook does nothing until overridden."""

    def member_changed(self, name: str, status: str) -> None:
        """This node changed its mind about a member; ``status`` is alive, suspect, dead, left or forgotten."""

    def probe_finished(self, name: str, rtt: float | None) -> None:
        """A probe round ended: ``rtt`` in seconds, or None when nobody reached the member."""

    def bytes_refused(self, port: str, reason: str) -> None:
        """Bytes that make no sense arrived on ``port`` (datagram or stream) and were refused for ``reason``."""

    def connection_opened(self, peer: str) -> None:
        """A connection to ``peer`` is ready."""

    def connection_closed(self, peer: str, reason: str) -> None:
        """A connection to ``peer`` ended for ``reason``."""

    def call_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """A call made here ended; ``outcome`` is ok, cancelled or the name of the error's class."""

    def call_retried(self, ns: str, cmd: str, key: Key | None, reason: str) -> None:
        """A call made here was refused or lost and is tried again."""

    def handler_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """A handler of this node ended; ``outcome`` as in `call_finished`."""

    def ring_changed(self, service: str, version: str, nodes: int) -> None:
        """The ring of ``service`` has a new snapshot with ``nodes`` nodes."""

    def duty_failed(self, duty: str, error: BaseException) -> None:
        """A background duty crashed with ``error`` and is about to be restarted, or stops the node."""


class Instruments:
    """The observers of one node; `tell` reaches each of them that still works."""

    def __init__(self, observers: Iterable[Instrument] = ()) -> None:
        """Start with ``observers``, told in this order."""
        self._observers = list(observers)
        self._refused: dict[str, tuple[float, int]] = {}

    def add(self, observer: Instrument) -> None:
        """Add an observer; it hears what happens from now on."""
        self._observers.append(observer)

    def tell(self, hook: Callable[Concatenate[Instrument, _P], None], /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call ``hook`` (such as ``Instrument.member_changed``) on every observer."""
        for observer in tuple(self._observers):
            try:
                getattr(observer, hook.__name__)(*args, **kwargs)
            except Exception:  # noqa: BLE001 - a broken observer must not break the node
                self._observers.remove(observer)
                _log.exception("instrument %r failed in %s and was dropped", observer, hook.__name__)

    def refuse_bytes(self, port: str, reason: str, *, source: object, now: float) -> None:
        """Tell of bytes from ``source`` that were refused; log it, too, at most once in 10 s for each port."""
        self.tell(Instrument.bytes_refused, port, reason)
        due, kept_back = self._refused.get(port, (now, 0))
        if now < due:
            self._refused[port] = (due, kept_back + 1)
            return
        self._refused[port] = (now + REFUSAL_LOG_INTERVAL, 0)
        # The reason may quote what was sent: as a literal it cannot break the line.
        _refusals.warning(
            "refused bytes on the %s port from %s: %.200r (%d more since the last line)",
            port,
            source,
            reason,
            kept_back,
        )
