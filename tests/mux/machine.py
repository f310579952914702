"""Two sessions, the link between them, and a model that knows what must arrive: what a state machine of calls drives.

The link is two byte strings. Everything under way is read off it frame by frame, so that credit can be accounted for to
the byte at any moment: what the receiver still takes is what the sender may still send, and what is on its way.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from swimring.mux import (
    CallArrived,
    CallEnded,
    CancelArrived,
    CreditArrived,
    DataArrived,
    EndArrived,
    FailureArrived,
    GoAwayArrived,
    Limits,
    PongArrived,
    ReplyArrived,
    ResetArrived,
    StreamsOffered,
    StreamState,
)
from swimring.mux.frames import HEADER, HEADER_SIZE, MAX_STREAM_ID, MESSAGES, Kind

from .link import Link

if TYPE_CHECKING:
    from swimring.mux import CallHeader, Event, Session

NARROW = Limits(
    streams=8, message=20_000, message_window=40_000, stream_window=16_384, connection_window=40_000, frame_body=16_384
)
NOISE = b"".join(number.to_bytes(3, "big") for number in range(30_000))
"""Every piece of it is different, so that nothing can be reordered unnoticed."""
_OF_MESSAGES = (Kind.REQUEST, Kind.REPLY, Kind.FAILURE, Kind.BODY)


@dataclass
class MadeCall:
    """A call as its maker knows it."""

    header: CallHeader
    body: bytes
    streams: list[int]
    cancelled: bool = False
    arrived: bool = False
    answer: tuple[str, bytes] | None = None
    """What the other side answered."""
    ends: list[str] = field(default_factory=list)
    """How it ended here: exactly one in the end."""


@dataclass
class Direction:
    """One direction of a byte stream."""

    sent: int = 0
    finished: bool = False
    received: int = 0
    ended: bool = False


class Side:
    """One session and what its application has done and heard."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.other: Side = self
        self.wire = b""
        """Bytes on their way to this side."""
        self.made: dict[int, MadeCall] = {}
        self.serving: dict[int, CallArrived] = {}
        self.served: set[int] = set()
        self.cancelled_there: set[int] = set()
        self.offered: set[int] = set()
        self.offered_for: dict[int, int] = {}
        self.out: dict[int, Direction] = {}
        self.reset_here: set[int] = set()
        self.reset_there: set[int] = set()
        self.unread: Counter[int] = Counter()
        self.pings: list[bytes] = []
        self.gone = False

    # ------------------------------------------------------------------------------------------------- what is heard

    def hear(self, event: Event) -> None:
        match event:
            case CallArrived() | CancelArrived():
                self._hear_from_caller(event)
            case ReplyArrived() | FailureArrived():
                call = self.made[event.call_id]
                assert not call.cancelled
                assert call.answer == (type(event).__name__, event.body)
                call.ends.append("answered")
            case CallEnded(call_id=call_id):
                call = self.made[call_id]
                assert call.cancelled or (call.header.kind and call.arrived)
                call.ends.append("ended")
            case StreamsOffered(call_id=call_id, streams=streams):
                call = self.made[call_id]
                assert call_id in self.other.offered
                assert not call.cancelled
                self._open(list(streams.values()))
            case GoAwayArrived():
                self._hear_goodbye(event.refused)
            case PongArrived(payload=payload):
                assert payload == self.pings.pop(0)
            case DataArrived() | EndArrived() | ResetArrived():
                self._hear_of_stream(event)
            case _:
                assert isinstance(event, CreditArrived)

    def _hear_goodbye(self, refused: tuple[int, ...]) -> None:
        for call_id in refused:
            call = self.made[call_id]
            assert not call.arrived, "a call that was refused has arrived"
            call.ends.append("refused")

    def _hear_from_caller(self, event: CallArrived | CancelArrived) -> None:
        call = self.other.made[event.call_id]
        if isinstance(event, CancelArrived):
            assert call.cancelled
            assert event.call_id in self.serving
            self.cancelled_there.add(event.call_id)
            return
        assert not call.arrived
        assert (event.header.cmd, event.header.kind, event.body) == (call.header.cmd, call.header.kind, call.body)
        assert list(event.streams.values()) == call.streams
        call.arrived = True
        self.serving[event.call_id] = event
        self._open(call.streams)

    def _open(self, streams: list[int]) -> None:
        for stream in streams:
            self.out.setdefault(stream, Direction())

    def _hear_of_stream(self, event: DataArrived | EndArrived | ResetArrived) -> None:
        stream = event.stream_id
        assert stream not in self.reset_there
        assert stream not in self.reset_here
        if isinstance(event, ResetArrived):
            call = self.other.made.get(self.offered_for.get(stream, 0))
            # Streams for a call that was cancelled meanwhile are reset by the session itself.
            assert stream in self.other.reset_here or (call is not None and call.cancelled)
            self.reset_there.add(stream)
            return
        there = self.other.out[stream]
        assert not there.ended
        if isinstance(event, EndArrived):
            assert there.finished
            assert there.received == there.sent, "the end has overtaken data"
            there.ended = True
            return
        assert event.data == NOISE[there.received : there.received + len(event.data)], "bytes lost or reordered"
        there.received += len(event.data)
        self.unread[stream] += len(event.data)

    # ------------------------------------------------------------------------------------------------- what is done

    def ask(self, header: CallHeader, body: bytes) -> int:
        call_id = self.session.request(header, body)
        streams = [call_id + 2 * number for number in range(1, len(header.streams) + 1)]
        self.made[call_id] = MadeCall(header, body, streams)
        self._open(streams)
        return call_id

    def answer(self, call_id: int, body: bytes, *, fail: bool) -> None:
        (self.session.fail if fail else self.session.reply)(call_id, body)
        self.other.made[call_id].answer = ("FailureArrived" if fail else "ReplyArrived", body)
        self._served(call_id)

    def done(self, call_id: int) -> None:
        self.session.done(call_id)
        self._served(call_id)

    def _served(self, call_id: int) -> None:
        assert call_id not in self.served
        self.served.add(call_id)
        del self.serving[call_id]

    def offer(self, call_id: int, names: list[str]) -> None:
        streams = list(self.session.offer(call_id, names))
        self._open(streams)
        self.offered.add(call_id)
        self.offered_for |= dict.fromkeys(streams, call_id)

    def send(self, stream: int, count: int) -> None:
        at = self.out[stream].sent
        taken = self.session.send(stream, NOISE[at : at + count])
        self.out[stream].sent += taken

    def finish(self, stream: int) -> None:
        self.session.finish(stream)
        self.out[stream].finished = True

    def reset(self, stream: int) -> None:
        if self.session.stream_state(stream) is not StreamState.CLOSED:
            self.reset_here.add(stream)
        self.session.reset(stream, 0, "reset")

    def cancel(self, call_id: int) -> None:
        call = self.made[call_id]
        call.cancelled = True
        for stream in call.streams:
            if self.session.stream_state(stream) is not StreamState.CLOSED:
                self.reset_here.add(stream)
        self.session.cancel(call_id, range(call_id + 2, call_id + 2 + 2 * len(call.streams), 2), "cancel")

    def read(self, stream: int) -> None:
        count = self.unread.pop(stream, 0)
        if count:
            self.session.consume(stream, count)

    def can_write(self, stream: int) -> bool:
        return self.session.stream_state(stream) in (StreamState.OPEN, StreamState.ENDED_THERE)

    # ------------------------------------------------------------------------------------------------- the books

    def situation(self) -> tuple[object, ...]:
        """Everything that a refused use of a session must leave as it is."""
        line = self.session._line
        return (
            line.outbox.queued,
            sum(map(len, line.outbox._bulk.values())),
            line.allowance.available,
            line.message_allowance.available,
            line.open_here,
            line.open_there,
            line.next_here,
            self.session.open_calls,
            self.session.open_streams,
        )

    def under_way(self) -> Traffic:
        """What this side sent and the other has not parsed: on the wire, and in our own outbox."""
        outbox = self.session._line.outbox
        bulk = [frame for queue in outbox._bulk.values() for frame in queue]
        return Traffic(self.other.session._tail + self.other.wire + b"".join(outbox._urgent) + b"".join(bulk))

    def check_credit(self) -> None:
        """This side sends, the other receives: not a byte of credit is lost or made up."""
        here, there = self.session._line, self.other.session._line
        going, coming = self.under_way(), self.other.under_way()
        assert there.window._room - here.allowance.available == going.data + coming.credit[0, 0]
        room = there.message_window._room - here.message_allowance.available
        assert room == going.messages + coming.credit[0, MESSAGES]
        unread = sum(self.other.unread.values())
        assert NARROW.connection_window - there.window._room - there.window._owed == unread
        calls = self.other.session._calls
        kept = sum(call.size for call in (*calls._made_here.values(), *calls._made_there.values()) if call.parts)
        assert NARROW.message_window - there.message_window._room - there.message_window._owed == kept
        for stream, one in self.session._streams._streams.items():
            twin = self.other.session._streams._streams.get(stream)
            if twin is not None and StreamState.CLOSED not in (one.state, twin.state):
                gap = twin.window._room - one.allowance.available
                assert gap == going.of_stream[stream] + coming.credit[stream, 0]

    def check_bounds(self) -> None:
        line = self.session._line
        bulk = sum(len(frame) - HEADER_SIZE for queue in line.outbox._bulk.values() for frame in queue)
        assert bulk <= NARROW.connection_window + NARROW.message_window
        assert len(self.session._tail) <= NARROW.frame_body + HEADER_SIZE
        assert 0 <= line.open_here <= NARROW.streams
        assert 0 <= line.open_there <= NARROW.streams
        for call in self.made.values():
            assert len(call.ends) <= 1

    def check_over(self) -> None:
        """After everything ended there is nothing left, and all that was owed has come."""
        line = self.session._line
        assert self.session.idle
        assert (line.open_here, line.open_there) == (0, 0)
        assert not self.serving
        assert not self.pings
        for call in self.made.values():
            assert len(call.ends) == 1, call
            assert not (call.arrived and "refused" in call.ends)
        given_up = self.reset_here | self.other.reset_here | self.forgotten
        for stream in self.out.keys() - given_up:
            assert self.out[stream].ended, stream
            assert self.out[stream].received == self.out[stream].sent

    @property
    def forgotten(self) -> set[int]:
        """Streams of calls that were refused."""
        sides = (self, self.other)
        return {
            stream for side in sides for call in side.made.values() if "refused" in call.ends for stream in call.streams
        }


class Traffic:
    """Frames cut out of bytes under way: what each account has to answer for."""

    def __init__(self, data: bytes) -> None:
        self.data = 0
        self.messages = 0
        self.of_stream: Counter[int] = Counter()
        self.credit: Counter[tuple[int, int]] = Counter()
        at = 0
        while at < len(data):
            word, rest = HEADER.unpack_from(data, at)
            length, kind, stream, flags = word >> 8, word & 0xFF, rest & MAX_STREAM_ID, rest >> 56
            body = data[at + HEADER_SIZE : at + HEADER_SIZE + length]
            at += HEADER_SIZE + length
            if kind == Kind.DATA:
                self.data += length
                self.of_stream[stream] += length
            elif kind in _OF_MESSAGES:
                self.messages += length
            elif kind == Kind.CREDIT:
                self.credit[stream, flags] += int.from_bytes(body, "big")


def connected() -> tuple[Side, Side]:
    link = Link(NARROW)
    here, there = Side(link.here), Side(link.there)
    here.other, there.other = there, here
    return here, there
