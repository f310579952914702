"""Named byte streams: the life of one as a table, and all of those of a connection.

A stream has two directions, each ended by END (all was sent) or both by RESET. RESET after one's own END only refuses
what the other side still sends: what was sent before remains valid, so leaving early does not lose the answer.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from swimring.codec import decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError

from .credit import Allowance, Window
from .events import CreditArrived, DataArrived, EndArrived, ResetArrived
from .frames import END, Kind, data_frame, frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .events import Event
    from .line import Line

_MAX_REASON: Final = 512


class StreamState(enum.Enum):
    """Which directions are still open."""

    OPEN = "open"
    ENDED_HERE = "we have ended our direction"
    ENDED_THERE = "they have ended theirs"
    CLOSED = "closed"


class Step(enum.Enum):
    """What happens to a stream."""

    SEND = "send data"
    SEND_END = "send end"
    SEND_RESET = "send reset"
    DATA = "data arrived"
    DATA_END = "end arrived"
    RESET = "reset arrived"


LIFE: Final[Mapping[tuple[StreamState, Step], StreamState]] = {
    (StreamState.OPEN, Step.SEND): StreamState.OPEN,
    (StreamState.OPEN, Step.SEND_END): StreamState.ENDED_HERE,
    (StreamState.OPEN, Step.SEND_RESET): StreamState.CLOSED,
    (StreamState.OPEN, Step.DATA): StreamState.OPEN,
    (StreamState.OPEN, Step.DATA_END): StreamState.ENDED_THERE,
    (StreamState.OPEN, Step.RESET): StreamState.CLOSED,
    (StreamState.ENDED_HERE, Step.SEND_RESET): StreamState.CLOSED,
    (StreamState.ENDED_HERE, Step.DATA): StreamState.ENDED_HERE,
    (StreamState.ENDED_HERE, Step.DATA_END): StreamState.CLOSED,
    (StreamState.ENDED_HERE, Step.RESET): StreamState.CLOSED,
    (StreamState.ENDED_THERE, Step.SEND): StreamState.ENDED_THERE,
    (StreamState.ENDED_THERE, Step.SEND_END): StreamState.CLOSED,
    (StreamState.ENDED_THERE, Step.SEND_RESET): StreamState.CLOSED,
    (StreamState.ENDED_THERE, Step.RESET): StreamState.CLOSED,
}
"""A missing pair is illegal: our fault if we send, the peer's if it arrived."""


class ResetCode(enum.IntEnum):
    """Why a stream was given up."""

    UNWANTED = 0
    """The reader needs no more; nothing is wrong."""
    CANCELLED = 1
    """The call or the scope around the stream was cancelled."""
    FAILED = 2
    """The reader or the writer failed."""


_TO_SEND: Final = (StreamState.OPEN, StreamState.ENDED_THERE)
_TO_ARRIVE: Final = (StreamState.OPEN, StreamState.ENDED_HERE)
"""The states that data does not change: to ask `LIFE`, with the hashes of members, takes longer than all else here."""
_OPEN: Final = StreamState.OPEN  # as quick to look up as they are often asked about
_ENDED_HERE: Final = StreamState.ENDED_HERE
_CLOSED: Final = StreamState.CLOSED


class _Stream:
    __slots__ = ("allowance", "state", "window")

    def __init__(self, window: int, allowance: int) -> None:
        self.state = _OPEN
        self.window = Window(window)
        self.allowance = Allowance(allowance)


class Streams:
    """All open byte streams of a connection."""

    __slots__ = ("_line", "_streams")

    def __init__(self, line: Line) -> None:
        """No streams yet."""
        self._line = line
        self._streams: dict[int, _Stream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def state(self, stream_id: int) -> StreamState:
        """Where in its life a stream is."""
        stream = self._streams.get(stream_id)
        return _CLOSED if stream is None else stream.state

    def announce(self, ids: Iterable[int]) -> None:
        """Open the streams of a call."""
        for stream_id in ids:
            self._streams[stream_id] = _Stream(self._line.limits.stream_window, self._line.peer.stream_window)

    def forget(self, ids: Iterable[int]) -> None:
        """Drop streams of a call that the other side never accepted."""
        for stream_id in ids:
            if self._streams.pop(stream_id, None) is not None:
                self._line.allowance.refund(self._line.outbox.drop(stream_id))
                self._line.closed(stream_id)

    # -------------------------------------------------------------------------------------------------- our side

    def send(self, stream_id: int, data: bytes | memoryview) -> int:
        """Queue as much of ``data`` as there is credit for; return how many bytes that were.

        Raises:
            LocalProtocolError: our direction has ended.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.state not in _TO_SEND:
            stream = self._step(stream_id, Step.SEND)
        count = min(len(data), stream.allowance.available, self._line.allowance.available)
        stream.allowance.spend(count)
        self._line.allowance.spend(count)
        size = self._line.peer.frame_body
        for start in range(0, count, size):
            chunk = data[start : min(count, start + size)]
            self._line.outbox.push_bulk(stream_id, data_frame(stream_id, chunk))
        return count

    def finish(self, stream_id: int) -> None:
        """End our direction behind all that was queued.

        Raises:
            LocalProtocolError: it has ended already.
        """
        self._step(stream_id, Step.SEND_END)
        self._line.outbox.push_bulk(stream_id, frame(Kind.DATA, END, stream_id))

    def reset(self, stream_id: int, code: int, reason: str) -> None:
        """Give up a stream; nothing happens if it is closed already."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.state is _CLOSED:
            return
        ended_here = stream.state is _ENDED_HERE
        stream.state = LIFE[stream.state, Step.SEND_RESET]
        packed = frame(Kind.RESET, 0, stream_id, encode([code, reason[:_MAX_REASON]]))
        if ended_here and self._line.outbox.has_bulk(stream_id):
            self._line.outbox.push_bulk(stream_id, packed)
            return
        self._line.allowance.refund(self._line.outbox.drop(stream_id))
        self._line.outbox.push(packed)
        self.settle(stream_id)

    def settle(self, stream_id: int) -> None:
        """Forget a stream that is closed and has nothing left to send: it counts against the limit until then."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.state is not _CLOSED or self._line.outbox.has_bulk(stream_id):
            return
        del self._streams[stream_id]
        self._line.closed(stream_id)

    def consume(self, stream_id: int, count: int) -> None:
        """The application has read ``count`` bytes, or will never: return their credit."""
        self._line.return_data(count)
        stream = self._streams.get(stream_id)
        if stream is None or stream.state not in (_OPEN, _ENDED_HERE):
            return
        grant = stream.window.release(count)
        if grant:
            self._line.outbox.push(frame(Kind.CREDIT, 0, stream_id, grant.to_bytes(4, "big")))

    # ------------------------------------------------------------------------------------------------ their side

    def on_data(self, flags: int, stream_id: int, body: bytes, events: list[Event]) -> None:
        """DATA: bytes, an end, or both."""
        self._line.window.arrive(len(body))
        stream = self._alive(stream_id, "data")
        if stream is None:
            self._line.return_data(len(body))
            return
        stream.window.arrive(len(body))
        if body:
            if stream.state not in _TO_ARRIVE:
                self._arrive(stream_id, stream, Step.DATA)
            events.append(DataArrived(stream_id=stream_id, data=body))
        if flags & END:
            self._arrive(stream_id, stream, Step.DATA_END)
            events.append(EndArrived(stream_id=stream_id))

    def on_reset(self, _flags: int, stream_id: int, body: bytes, events: list[Event]) -> None:
        """RESET: both directions, or what is left of ours."""
        match decode(body):
            case [int(code), str(reason), *_]:
                pass
            case _:
                raise RemoteProtocolError("malformed reset")
        stream = self._alive(stream_id, "a reset")
        if stream is None:
            return
        self._line.allowance.refund(self._line.outbox.drop(stream_id))
        self._arrive(stream_id, stream, Step.RESET)
        events.append(ResetArrived(stream_id=stream_id, code=code, reason=reason[:_MAX_REASON]))

    def on_credit(self, stream_id: int, count: int, events: list[Event]) -> None:
        """CREDIT of one stream."""
        stream = self._alive(stream_id, "credit")
        if stream is not None:
            stream.allowance.grant(count)
            events.append(CreditArrived(stream_id=stream_id))

    def _alive(self, stream_id: int, what: str) -> _Stream | None:
        stream = self._streams.get(stream_id)
        if stream is None:
            self._line.check_late(stream_id, what)
        elif stream.state is _CLOSED:
            return None
        return stream

    def _step(self, stream_id: int, step: Step) -> _Stream:
        stream = self._streams.get(stream_id)
        after = None if stream is None else LIFE.get((stream.state, step))
        if stream is None or after is None:
            raise LocalProtocolError(f"cannot {step.value}: stream {stream_id} is {self.state(stream_id).value}")
        stream.state = after
        return stream

    def _arrive(self, stream_id: int, stream: _Stream, step: Step) -> None:
        after = LIFE.get((stream.state, step))
        if after is None:
            raise RemoteProtocolError(f"{step.value} on stream {stream_id}, but {stream.state.value}")
        stream.state = after
        self.settle(stream_id)
