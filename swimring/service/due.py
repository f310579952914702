"""The calls made over one connection whose answers are due, and what becomes of them. Needs no event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from swimring.errors import ConnectionLost, Draining, Unreachable
from swimring.mux import ResetCode

from .held import Due

if TYPE_CHECKING:
    from swimring.mux import Answer, CallEnded, FailureArrived, GoAwayArrived, ReplyArrived, Session, StreamsOffered

    from .held import Carrier

D = TypeVar("D", bound=Due)


class DueCalls(Generic[D]):
    """By id. What a driver adds is how calls are sent, and how their answers are waited for."""

    def __init__(self, carrier: Carrier, session: Session) -> None:
        """No calls yet."""
        self._carrier = carrier
        self._session = session
        self._pending: dict[int, D] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def cancel(self, call_id: int, streams: range, reason: str) -> None:
        """Tell the other side that a call is given up, with its ``streams``."""
        self._session.cancel(call_id, streams, reason)
        self._carrier.poke()

    def on_answer(self, event: ReplyArrived | FailureArrived | CallEnded) -> None:
        """An answer came in; of a call that nobody waits for any more it is dropped."""
        self._settle(event.call_id, event)

    def on_offer(self, event: StreamsOffered) -> None:
        """Streams come with an answer; they are given up if nobody holds the call open."""
        pending = self._pending.get(event.call_id)
        if pending is None or pending.offered is None:
            for stream_id in event.streams.values():
                self._session.reset(stream_id, ResetCode.UNWANTED, "nobody reads the streams of this answer")
            return
        for name, stream_id in event.streams.items():
            pending.offered[name] = self._carrier.attach(stream_id, name)

    def on_go_away(self, event: GoAwayArrived) -> None:
        """The other side takes no more calls; those it had not accepted are certain not to have run."""
        for call_id in event.refused:
            self._settle(call_id, Draining(event.reason, retry_after=event.retry_after))

    def on_lost(self, reason: str, *, accepted: bool = True) -> None:
        """The connection is gone: what was sent may have run, unless the other side had not ``accepted`` us at all."""
        for call_id, pending in self._pending.items():
            may_have_run = accepted and self._session.was_sent(call_id)
            pending.settle(ConnectionLost(reason) if may_have_run else Unreachable(reason))
        self._pending.clear()

    def _settle(self, call_id: int, answer: Answer) -> None:
        pending = self._pending.pop(call_id, None)
        if pending is not None:
            pending.settle(answer)
