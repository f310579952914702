"""The streams of one connection that somebody reads or writes here, and what arrives for them. Needs no event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from swimring.mux import CreditArrived, DataArrived, EndArrived, ResetArrived

from .streams import SessionStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from swimring.mux import Event, Session

S = TypeVar("S", bound=SessionStream)


class AttachedStreams(Generic[S]):
    """By id; what arrives for a stream that nobody has any more only gives its credit back."""

    def __init__(self, session: Session) -> None:
        """None yet; those that `add` gets are streams of ``session``."""
        self._session = session
        self._streams: dict[int, S] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: S) -> S:
        """``stream`` gets its events from now on."""
        self._streams[stream.stream_id] = stream
        return stream

    def discard(self, stream_id: int) -> None:
        """Nobody reads or writes that stream any more."""
        self._streams.pop(stream_id, None)

    def on_lost(self, reason: str) -> None:
        """The connection is gone."""
        for stream in self._streams.values():
            stream.on_lost(reason)
        self._streams.clear()

    def handlers(self) -> Mapping[type[Event], Callable[[Any], None]]:
        """What takes each event of a stream."""
        return {
            DataArrived: self._on_data,
            EndArrived: self._on_end,
            ResetArrived: self._on_reset,
            CreditArrived: self._on_credit,
        }

    def _on_data(self, event: DataArrived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            self._session.consume(event.stream_id, len(event.data))
        else:
            stream.arrive(event.data)

    def _on_end(self, event: EndArrived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.on_end(event)

    def _on_reset(self, event: ResetArrived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.on_reset(event)

    def _on_credit(self, event: CreditArrived) -> None:
        # What all share is handed out by `Writers`, once for all that arrived together.
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.on_credit()
