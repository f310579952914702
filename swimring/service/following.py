"""A call, or an attempt of it, as a span: for instruments that follow calls from beginning to end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from swimring.instrument import Instrument, Instruments, Span, SpanKind
from swimring.mux import why_cancelled
from swimring.tracing import current_trace, enter_trace

if TYPE_CHECKING:
    from types import TracebackType

    from swimring.identity import Address, Key
    from swimring.tracing import Trace

    from .streams import Waiting


class Following:
    """A call or an attempt while its block runs."""

    __slots__ = ("_deadline", "_instruments", "_kept", "_span", "_trace", "_waiting", "wanted")

    def __init__(self, instruments: Instruments, span: Span, waiting: Waiting) -> None:
        """It begins with the block."""
        self._instruments = instruments
        self._span = span
        self._waiting = waiting
        self._kept = False
        self._deadline = math.inf
        self._trace: Trace | None = None
        self.wanted = False
        """Whether anybody follows it: attempts of a call that nobody follows are told to nobody."""

    def attempt(self, peer: str, number: int, address: Address | None) -> Following:
        """One attempt of this call, at ``peer``."""
        call = self._span
        span = Span(
            kind=SpanKind.ATTEMPT,
            ns=call.ns,
            cmd=call.cmd,
            key=call.key,
            peer=peer,
            attempt=number,
            call=call,
            address=address,
        )
        return Following(self._instruments, span, self._waiting)

    def traceparent(self, otherwise: str | None) -> str | None:
        """What travels with it: the trace that somebody put it into, if anybody did."""
        return otherwise if self._trace is None else str(self._trace)

    def tell(self, event: str, reason: str) -> None:
        """Something happens to it."""
        self._instruments.tell(Instrument.span_event, self._span, event, reason)

    def keep(self) -> Self:
        """Do not end it with the block, if that ends well, but with the one that is left by `__exit__` later."""
        self._kept = True
        return self

    def __enter__(self) -> Self:
        before = current_trace()
        self.wanted = self._instruments.begin(self._span)
        if self.wanted:
            self._deadline = self._waiting.deadline()
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
        elif self.wanted:
            outcome = outcome_of_block(kind)
            if outcome == "cancelled":
                self.tell("cancelled", why_cancelled(self._deadline, now=self._waiting.now()))
            self._instruments.tell(Instrument.span_ended, self._span, outcome)


class Report:
    """Tells the instruments what became of the call that a block makes; a subclass says what its block gets."""

    __slots__ = ("_following", "_instruments", "_span", "_started", "_waiting")

    def __init__(self, instruments: Instruments, ns: str, cmd: str, key: Key | None, waiting: Waiting) -> None:
        """The call begins with the block."""
        self._instruments = instruments
        self._span = Span(kind=SpanKind.CALL, ns=ns, cmd=cmd, key=key)
        self._waiting = waiting
        self._following: Following | None = None

    def begin(self) -> Following | None:
        """Enter the block; the call as it is followed, if anybody may want that."""
        self._started = self._waiting.now()
        if self._instruments.traced:
            self._following = Following(self._instruments, self._span, self._waiting).__enter__()
        return self._following

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        span, seconds = self._span, self._waiting.now() - self._started
        outcome = outcome_of_block(kind)
        self._instruments.tell(Instrument.call_finished, span.ns, span.cmd, span.key, outcome, seconds)
        if self._following is not None:
            self._following.__exit__(kind, error, traceback)


def outcome_of_block(kind: type[BaseException] | None) -> str:
    """What an instrument is told of a block that was left by ``kind``."""
    return "ok" if kind is None else kind.__name__ if issubclass(kind, Exception) else "cancelled"
