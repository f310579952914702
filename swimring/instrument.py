"""Everything that can be observed in a node, as methods that do nothing.

An observer subclasses `Instrument`, overrides what it wants to hear and returns quickly: hooks run synchronously, in
the task that caused them. Instruments observe and never inject. One that raises is dropped and logged; the node
goes on (the precedent is Trio's own instruments).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Final, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .identity import Address, Key

SHORTEST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 3600.0
"""Seconds between two log lines about refused bytes, for each port."""

_log = logging.getLogger("swimring.instrument")
_refusals = logging.getLogger("swimring.refusals")
_P = ParamSpec("_P")


class SpanKind(Enum):
    """What lasts."""

    CALL = "call"
    """A call made here, with all its attempts."""
    ATTEMPT = "attempt"
    """One attempt of it, at one node."""
    HANDLER = "handler"
    """A handler that runs here for a call from anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Span:
    """A call, an attempt or a handler, from beginning to end: the same object in each hook that tells of it."""

    kind: SpanKind
    """What it is."""
    ns: str
    """The service."""
    cmd: str
    """The command."""
    key: Key | None
    """What the call is routed by."""
    peer: str = ""
    """Who is asked by an attempt, or who asked for a handler; empty for a call, whose attempts may ask several."""
    attempt: int = 0
    """Attempts before this one."""
    call: Span | None = None
    """The call that an attempt belongs to."""
    address: Address | None = None
    """Of the node that handles it: for an attempt the one that is asked, if it is known, for a handler this one."""


class Instrument:
    """An observer; every hook does nothing until overridden."""

    timed: ClassVar[bool] = True
    """Whether it wants to know how long calls and handlers took; if no observer does, it is told 0."""
    traced: ClassVar[bool] = False
    """Whether it wants to hear of spans; if no observer does, there are none, and calls cost nothing more."""

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

    def call_orphaned(self, ns: str, cmd: str, key: Key | None, owner: str) -> None:
        """A call made here was given up, and ``owner`` did not say in time that its handler has ended."""

    def handler_finished(self, ns: str, cmd: str, key: Key | None, outcome: str, seconds: float) -> None:
        """A handler of this node ended; ``outcome`` as in `call_finished`."""

    def call_forwarded(self, ns: str, cmd: str, key: Key | None, owner: str) -> None:
        """A call of somebody who cannot reach ``owner`` is handed on to it."""

    def stream_blocked(self, seconds: float) -> None:
        """A stream of a call waited so long until it might send: its reader is slower than its writer."""

    def span_started(self, span: Span) -> bool:  # noqa: ARG002 - for those who override it
        """A call, an attempt or a handler is about to begin, in this context; whether to tell what becomes of it.

        What `swimring.tracing.current_trace` says after this hook travels with an attempt and is what a handler runs
        in: so who keeps spans under ids of its own can make the two agree, by `swimring.tracing.enter_trace`. If no
        observer wants to hear more of a call, it has no attempts to tell of, and travels in the trace it was put into.
        """
        return False

    def span_event(self, span: Span, event: str, reason: str) -> None:
        """What happens to it meanwhile; ``event`` is ``retry``, ``moved`` (retried elsewhere) or ``cancelled``."""

    def span_ended(self, span: Span, outcome: str) -> None:
        """It is over; ``outcome`` as in `call_finished`. Not always in the context it began in."""

    def ring_changed(self, service: str, version: str, nodes: int) -> None:
        """The ring of ``service`` has a new snapshot with ``nodes`` nodes."""

    def duty_failed(self, duty: str, error: BaseException) -> None:
        """A background duty crashed with ``error`` and is about to be restarted, or stops the node."""


class Instruments:
    """The observers of one node; `tell` reaches each of them that still works."""

    def __init__(self, observers: Iterable[Instrument] = ()) -> None:
        """Start with ``observers``, told in this order."""
        self._observers = tuple(observers)
        self.timed = any(one.timed for one in self._observers)
        """Whether anybody wants to know how long calls take: nobody asks the clock for nothing."""
        self.traced = any(one.traced for one in self._observers)
        """Whether anybody wants to hear of spans."""
        self._listening: dict[object, tuple[tuple[Instrument, Callable[..., Any]], ...]] = {}
        self._refused: dict[str, _Refused] = {}

    def add(self, observer: Instrument) -> None:
        """Add an observer; it hears what happens from now on."""
        self._keep((*self._observers, observer))

    def remove(self, observer: Instrument) -> None:
        """Let it go; one that was dropped is gone already."""
        self._keep(tuple(one for one in self._observers if one is not observer))

    def tell(self, hook: Callable[Concatenate[Instrument, _P], None], /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call ``hook`` (such as ``Instrument.member_changed``) on every observer."""
        listening = self._listening.get(hook)
        for observer, hear in self._listen(hook) if listening is None else listening:
            try:
                hear(*args, **kwargs)
            except Exception:  # noqa: BLE001 - a broken observer must not break the node
                self._drop(observer, hook)

    def begin(self, span: Span) -> bool:
        """Tell everybody that ``span`` begins; whether anybody wants to hear more of it."""
        wanted = False
        for observer, hear in self._listening.get(Instrument.span_started) or self._listen(Instrument.span_started):
            try:
                if hear(span):
                    wanted = True
            except Exception:  # noqa: BLE001 - as in `tell`
                self._drop(observer, Instrument.span_started)
        return wanted

    def _drop(self, observer: Instrument, hook: Callable[..., object]) -> None:
        self.remove(observer)
        text = "instrument %r failed in %s and was dropped"
        _log.exception(text, observer, hook.__name__, extra={"event": "instrument.dropped"})

    def _keep(self, observers: tuple[Instrument, ...]) -> None:
        self._observers = observers
        self.timed = any(one.timed for one in observers)
        self.traced = any(one.traced for one in observers)
        self._listening.clear()

    def _listen(self, hook: Callable[..., object]) -> tuple[tuple[Instrument, Callable[..., Any]], ...]:
        """Those that override the hook, and how: most observers hear little of what happens often."""
        name = hook.__name__
        overriding = [one for one in self._observers if getattr(type(one), name, None) is not hook]
        listening = self._listening[hook] = tuple((one, getattr(one, name)) for one in overriding)
        return listening

    def refuse_bytes(
        self,
        port: str,
        reason: str,
        *,
        source: object,
        now: float,
        detail: str = "",
        level: int = logging.WARNING,
    ) -> None:
        """Tell of bytes from ``source`` that were refused, and log it, with ``detail`` if there is one, now and then.

        The pause between two lines about one port doubles from 10 s to an hour while refusals go on, and is 10 s again
        when there were none for that long: a stray neighbour is noticed, a flood fills no disk.
        """
        self.tell(Instrument.bytes_refused, port, reason)
        refused = self._refused.setdefault(port, _Refused())
        if now - refused.last >= refused.pause:
            refused.pause = SHORTEST_PAUSE
        refused.last = now
        if now < refused.due:
            refused.kept_back += 1
            return
        # The reason may quote what was sent: as a literal it cannot break the line.
        text = "refused bytes on the %s port from %s: %.200r (%d more since the last line)"
        facts = {"event": "bytes.refused"}
        _refusals.log(level, text, port, source, detail or reason, refused.kept_back, extra=facts)
        refused.due, refused.kept_back = now + refused.pause, 0
        refused.pause = min(2 * refused.pause, LONGEST_PAUSE)


@dataclass(slots=True)
class _Refused:
    """What the log has been told about the refusals on one port."""

    last: float = -math.inf
    due: float = -math.inf
    pause: float = SHORTEST_PAUSE
    kept_back: int = 0
