"""W3C trace context: which calls, on whatever nodes, belong together.

A trace begins where somebody says so. From then on every call made in that context carries the trace id and a span id
of its own, and the handler runs in the context of that span: what it calls belongs to the same trace. Without a trace
nothing is drawn, carried or kept.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED: Final = 1

_current: Final[ContextVar[Trace | None]] = ContextVar("swimring_trace", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One span of a trace; its text is a ``traceparent`` (https://www.w3.org/TR/trace-context/)."""

    trace_id: str
    """32 lower case hexadecimal digits, the same for all spans of a trace."""
    span_id: str
    """16 of them, for one call."""
    flags: int = _SAMPLED
    """Bit 0: the trace is recorded by whoever began it."""

    @classmethod
    def begin(cls, rng: random.Random) -> Trace:
        """The first span of a new trace."""
        return cls(trace_id=_draw(rng, 128), span_id=_draw(rng, 64))

    @classmethod
    def read(cls, traceparent: str) -> Trace | None:
        """The span that ``traceparent`` names; None if it names none, as the specification has it."""
        found = _TRACEPARENT.fullmatch(traceparent)
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
            return None
        return cls(trace_id=trace_id, span_id=span_id, flags=int(flags, 16))

    @property
    def sampled(self) -> bool:
        """Whether whoever began the trace records it."""
        return bool(self.flags & _SAMPLED)

    def child(self, rng: random.Random) -> Trace:
        """Another span of the same trace."""
        return replace(self, span_id=_draw(rng, 64))

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def current_trace() -> Trace | None:
    """The span in which this code runs: in a handler that of its call, if the caller was traced."""
    return _current.get()


@contextmanager
def use_trace(trace: Trace | None) -> Iterator[Trace | None]:
    """Run the block, and all tasks that it starts, in the span ``trace``; None for outside of any."""
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def enter_trace(trace: Trace | None) -> None:
    """Put this context into the span ``trace`` for good: for a context that belongs to one call."""
    _current.set(trace)


def _draw(rng: random.Random, bits: int) -> str:
    return f"{rng.randrange(1, 1 << bits):0{bits // 4}x}"
