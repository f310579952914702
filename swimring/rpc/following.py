"""Calls, attempts and handlers as spans, for instruments that follow them from beginning to end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

import trio

from swimring.instrument import Instrument, Instruments, Span, SpanKind
from swimring.mux import why_cancelled
from swimring.tracing import current_trace, enter_trace

if TYPE_CHECKING:
    from types import TracebackType

    from swimring.tracing import Trace

    from .outgoing import Outgoing
    from .serving import Incoming


class Following:
    """A call or an attempt while its block runs."""

    __slots__ = ("_deadline", "_instruments", "_kept", "_span", "_trace")

    def __init__(self, instruments: Instruments, span: Span) -> None:
        """It begins with the block."""
        self._instruments = instruments
        self._span = span
        self._kept = False
        self._deadline = trio.current_effective_deadline()
        self._trace: Trace | None = None

    @classmethod
    def of(cls, instruments: Instruments, out: Outgoing) -> Following:
        """The call ``out``."""
        return cls(instruments, Span(kind=SpanKind.CALL, ns=out.ns, cmd=out.cmd, key=out.key))

    def attempt(self, peer: str, number: int) -> Following:
        """One attempt of it, at ``peer``."""
        span = replace(self._span, kind=SpanKind.ATTEMPT, peer=peer, attempt=number, call=self._span)
        return Following(self._instruments, span)

    def carried_by(self, out: Outgoing) -> Outgoing:
        """The call as this attempt makes it: in the trace that somebody put it into, if anybody did."""
        return replace(out, following=self, traceparent=str(self._trace) if self._trace else out.traceparent)

    def tell(self, event: str, reason: str) -> None:
        """Something happens to it."""
        self._instruments.tell(Instrument.span_event, self._span, event, reason)

    def keep(self) -> Self:
        """Do not end it with the block, if that ends well, but with the one that is left by `__exit__` later."""
        self._kept = True
        return self

    def __enter__(self) -> Self:
        before = current_trace()
        self._instruments.tell(Instrument.span_started, self._span)
        now = current_trace()
        if now is not before:
            self._trace = now
            enter_trace(before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._kept and kind is None:
            self._kept = False
            return
        outcome = outcome_of(kind)
        if outcome == "cancelled":
            self.tell("cancelled", why_cancelled(self._deadline, now=trio.current_time()))
        self._instruments.tell(Instrument.span_ended, self._span, outcome)


class Report:
    """Tells the instruments what became of the call that its block makes; the block gets the call as it is followed."""

    __slots__ = ("_following", "_instruments", "_out", "_started")

    def __init__(self, instruments: Instruments, out: Outgoing) -> None:
        """It begins with the block."""
        self._instruments = instruments
        self._out = out
        self._following = Following.of(instruments, out) if instruments.traced else None

    def __enter__(self) -> Outgoing:
        self._started = trio.current_time()
        return self._out if self._following is None else self._following.__enter__().carried_by(self._out)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        out, seconds = self._out, trio.current_time() - self._started
        self._instruments.tell(Instrument.call_finished, out.ns, out.cmd, out.key, outcome_of(kind), seconds)
        if self._following is not None:
            self._following.__exit__(kind, error, traceback)


def outcome_of(kind: type[BaseException] | None) -> str:
    """What an instrument is told of a block that was left by ``kind``."""
    return "ok" if kind is None else kind.__name__ if issubclass(kind, Exception) else "cancelled"


def handler_span(incoming: Incoming) -> Span:
    """The handler that is about to run for ``incoming``."""
    header = incoming.header
    return Span(
        kind=SpanKind.HANDLER,
        ns=header.ns,
        cmd=header.cmd,
        key=header.key,
        peer=incoming.peer,
        attempt=header.attempt,
    )
