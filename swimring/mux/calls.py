"""Calls: request, answer, cast, cancel. The life of one as a table, and all of those of a connection.

A cast is a call nobody waits for: DONE without a body ends it, as it ends a cancelled call. So everything the other
side was asked to do counts against the limit of open streams until it is over.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from swimring.codec import decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError

from .events import CallArrived, CallEnded, CancelArrived, FailureArrived, ReplyArrived, StreamsOffered
from .frames import END, HEADER, HEADER_SIZE, Kind, cut, frame
from .header import CallKind, small_request, split_request
from .line import offered_ids, stream_ids
from .offers import check_names, decode_offer, encode_offer
from .stream import ResetCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from swimring.identity import Key

    from .events import Event
    from .header import CallHeader
    from .line import Line
    from .stream import Streams

_MAX_REASON: Final = 512
_NO_STREAMS: Final[Mapping[str, int]] = MappingProxyType({})


class CallState(enum.Enum):
    """How far a call is, as both sides see it."""

    ASKING = "the request is under way"
    RUNNING = "the request is complete"
    OFFERED = "streams were handed over"
    ANSWERING = "the answer is under way"
    OVER = "over"


class CallStep(enum.Enum):
    """What happens to a call."""

    BODY = "more of a message"
    BODY_END = "the rest of a message"
    CANCEL = "a cancel"
    OFFER = "streams"
    ANSWER = "the begin of an answer"
    ANSWER_END = "an answer"
    DONE = "done"


CALL_LIFE: Final[Mapping[tuple[CallState, CallStep], CallState]] = {
    (CallState.ASKING, CallStep.BODY): CallState.ASKING,
    (CallState.ASKING, CallStep.BODY_END): CallState.RUNNING,
    (CallState.ASKING, CallStep.CANCEL): CallState.OVER,
    (CallState.RUNNING, CallStep.CANCEL): CallState.RUNNING,
    (CallState.RUNNING, CallStep.OFFER): CallState.OFFERED,
    (CallState.RUNNING, CallStep.ANSWER): CallState.ANSWERING,
    (CallState.RUNNING, CallStep.ANSWER_END): CallState.OVER,
    (CallState.RUNNING, CallStep.DONE): CallState.OVER,
    (CallState.OFFERED, CallStep.CANCEL): CallState.OFFERED,
    (CallState.OFFERED, CallStep.ANSWER): CallState.ANSWERING,
    (CallState.OFFERED, CallStep.ANSWER_END): CallState.OVER,
    (CallState.OFFERED, CallStep.DONE): CallState.OVER,
    (CallState.ANSWERING, CallStep.BODY): CallState.ANSWERING,
    (CallState.ANSWERING, CallStep.BODY_END): CallState.OVER,
}
"""A missing pair is illegal: our fault if we send, the peer's if it arrived."""


# Members of an enumeration take twenty times as long to look up as names of a module, on Python 3.11.
_ASKING: Final = CallState.ASKING
_RUNNING: Final = CallState.RUNNING
_OFFERED: Final = CallState.OFFERED
_ANSWERING: Final = CallState.ANSWERING
_OVER: Final = CallState.OVER
_CAST: Final = CallKind.CAST
_REPLY: Final = Kind.REPLY
_WHOLE: Final = END << 56
_pack: Final = HEADER.pack


class _Call:
    __slots__ = ("cancelled", "cast", "failed", "number", "parts", "size", "state", "streams")

    def __init__(self, streams: int, state: CallState) -> None:
        self.state = state
        self.streams = streams
        self.cast = False
        self.cancelled = False
        self.failed = False
        self.number = 0
        self.parts: list[bytes] | None = None
        self.size = 0


class Calls:
    """All open calls of a connection: those made here and those made there."""

    __slots__ = ("_line", "_made_here", "_made_there", "_streams")

    def __init__(self, line: Line, streams: Streams) -> None:
        """No calls yet."""
        self._line = line
        self._streams = streams
        self._made_here: dict[int, _Call] = {}
        self._made_there: dict[int, _Call] = {}

    def __len__(self) -> int:
        return len(self._made_here) + len(self._made_there)

    # -------------------------------------------------------------------------------------------------- our side

    def request(self, header: CallHeader, body: bytes) -> int:
        """Open a call; return its id. Its streams have the ids that follow.

        Raises:
            LocalProtocolError: too large, too many open, no credit, or a bad header.
        """
        line, message = self._line, header.to_bytes() + body
        self._check_size(message)
        line.message_allowance.spend(len(message))
        try:
            call_id = line.open_local(len(header.streams))
        except LocalProtocolError:
            line.message_allowance.refund(len(message))
            raise
        call = self._made_here[call_id] = _Call(len(header.streams), _RUNNING)
        call.cast = header.kind is _CAST
        if len(message) <= line.peer.frame_body:
            call.number = line.outbox.push(frame(Kind.REQUEST, END, call_id, message))
        else:
            self._send_parts(call_id, call, message)
        if header.streams:
            self._streams.announce(stream_ids(call_id, call.streams))
        return call_id

    def ask(
        self,
        ns: str,
        cmd: str,
        key: Key | None,
        remaining: float,
        body: bytes,
        *,
        idempotent: bool,
        traceparent: str | None = None,
    ) -> int | None:
        """Send what nearly every request is, a first attempt without streams; return its id.

        None, and nothing is sent, if `request` has to do it: it has no room now, or does not fit into one frame, or the
        connection takes no calls.

        Raises:
            LocalProtocolError: a bad header.
        """
        line = self._line
        call_id, allowance = line.next_here, line.message_allowance
        packed = small_request(call_id, ns, cmd, key, remaining, body, idempotent=idempotent, traceparent=traceparent)
        size = len(packed) - HEADER_SIZE
        if size > line.small or size > allowance.available or line.open_here >= line.peer.streams or not line.asking:
            return None
        allowance.available -= size
        line.next_here += 2
        line.open_here += 1
        call = self._made_here[call_id] = _Call(0, _RUNNING)
        call.number = line.outbox.push(packed)
        return call_id

    def _send_parts(self, call_id: int, call: _Call, message: bytes) -> None:
        outbox = self._line.outbox
        first, *rest = cut(Kind.REQUEST, call_id, message, self._line.peer.frame_body)
        call.number = outbox.push(first)
        for part in rest:
            # Data of a stream must not overtake the request that announces it.
            if call.streams:
                call.number = outbox.push(part)
            else:
                outbox.push_bulk(call_id, part)

    def was_sent(self, call_id: int) -> bool:
        """Whether bytes of that call may have reached the other side; a call that is over was sent."""
        call = self._made_here.get(call_id)
        return call is None or call.number <= self._line.outbox.taken

    def cancel(self, call_id: int, reason: str) -> None:
        """Give up a call made here, and its streams; nothing happens if it is over."""
        call = self._made_here.get(call_id)
        if call is None or call.cancelled:
            return
        call.cancelled = True
        self._line.message_allowance.refund(self._line.outbox.drop(call_id))
        self._line.outbox.push(frame(Kind.CANCEL, 0, call_id, encode([reason[:_MAX_REASON]])))

    def answer(self, kind: int, call_id: int, body: bytes) -> None:
        """Send a reply or a failure record.

        Raises:
            LocalProtocolError: the call is over or a cast, or the answer too large or without credit.
        """
        line, size = self._line, len(body)
        if size > line.peer.message:
            self._check_size(body)
        self._finish(call_id, size)
        if size <= line.peer.frame_body:
            line.outbox.push(frame(kind, END, call_id, body))
            return
        first, *rest = cut(kind, call_id, body, line.peer.frame_body)
        line.outbox.push(first)
        for part in rest:
            line.outbox.push_bulk(call_id, part)

    def reply_if_credit(self, call_id: int, body: bytes) -> bool:
        """`answer` with a reply; False, and nothing is sent, if there is no credit for it, or it is not short.

        Raises:
            LocalProtocolError: the call is over or a cast.
        """
        line, size = self._line, len(body)
        allowance = line.message_allowance
        if size > line.small or size > allowance.available:
            return False
        call = self._made_there.get(call_id)
        if call is None or call.state is _ASKING or call.cast:
            raise LocalProtocolError(f"nobody waits for an answer to call {call_id}")
        del self._made_there[call_id]
        allowance.available -= size
        line.open_there -= 1
        line.outbox.push(_pack(size << 8 | _REPLY, _WHOLE | call_id) + body)
        return True

    def offer(self, call_id: int, names: Sequence[str]) -> range:
        """Hand streams over before the answer; return their ids.

        Raises:
            LocalProtocolError: nobody waits for an answer, or there was an offer already; names or room are lacking.
        """
        call = self._made_there.get(call_id)
        if call is None or call.cast or call.cancelled or call.state is not _RUNNING:
            raise LocalProtocolError(f"call {call_id} takes no streams (any more)")
        check_names(names)
        first = self._line.open_local_offer(len(names))
        call.state = _OFFERED
        # Urgent, as requests are: ids go out in order, and data of the streams comes behind.
        self._line.outbox.push(frame(Kind.OFFER, 0, call_id, encode_offer(first, names)))
        ids = offered_ids(first, len(names))
        self._streams.announce(ids)
        return ids

    def done(self, call_id: int) -> None:
        """End a cast, or a cancelled call that has no answer.

        Raises:
            LocalProtocolError: somebody still waits for an answer.
        """
        call = self._made_there.get(call_id)
        if call is not None and not (call.cast or call.cancelled):
            raise LocalProtocolError(f"call {call_id} needs an answer")
        self._finish(call_id, None)
        self._line.answer(frame(Kind.DONE, 0, call_id))

    def refuse_above(self, last_id: int) -> tuple[int, ...]:
        """Forget the calls made here that the other side did not accept; return their ids."""
        refused = tuple(call_id for call_id in self._made_here if call_id > last_id)
        for call_id in refused:
            call = self._made_here.pop(call_id)
            self._line.message_allowance.refund(self._line.outbox.drop(call_id))
            self._line.closed(call_id)
            self._streams.forget(stream_ids(call_id, call.streams))
        return refused

    # ------------------------------------------------------------------------------------------------ their side

    def on_request(self, flags: int, call_id: int, body: bytes, events: list[Event]) -> None:
        """REQUEST: the whole message, or its first part."""
        line, size = self._line, len(body)
        if flags & END and not line.refusing and size <= line.limits.message:
            # Almost every request is one frame: it need not be gathered.
            grant = line.message_window.pass_on(size)
            if grant:
                line.grant_messages(grant)
            line.open_remote(call_id)
            call = self._made_there[call_id] = _Call(0, _RUNNING)
            self._ask(call_id, call, body, events)
            return
        line.message_window.arrive(size)
        if line.refusing:
            line.return_message(size)
            return
        line.open_remote(call_id)
        self._check_length(call_id, size)
        call = self._made_there[call_id] = _Call(0, _ASKING)
        self._gather(call_id, call, CallStep.BODY, body)

    def on_reply(self, flags: int, call_id: int, body: bytes, events: list[Event]) -> None:
        """REPLY: nearly every one is the whole answer of a call that somebody waits for."""
        call, line, size = self._made_here.get(call_id), self._line, len(body)
        if (
            call is None
            or call.state is not _RUNNING
            or call.cancelled
            or call.cast
            or not flags & END
            or size > line.limits.message
        ):
            self.on_answer(Kind.REPLY, flags, call_id, body, events)
            return
        grant = line.message_window.pass_on(size)
        if grant:
            line.grant_messages(grant)
        del self._made_here[call_id]
        line.open_here -= 1
        events.append(ReplyArrived(call_id, body))

    def on_answer(self, kind: int, flags: int, call_id: int, body: bytes, events: list[Event]) -> None:
        """REPLY or FAILURE: the whole message, or its first part."""
        self._line.message_window.arrive(len(body))
        call = self._made_here.get(call_id)
        if call is None:
            self._line.check_late(call_id, "an answer")
            self._line.return_message(len(body))
            return
        if call.cast:
            raise RemoteProtocolError(f"an answer to cast {call_id}")
        call.failed = kind == Kind.FAILURE
        if flags & END and call.state is not _ANSWERING and len(body) <= self._line.limits.message:
            # Almost every answer is one frame: it need not be gathered.
            self._conclude(call_id, call, body, events)
            return
        self._gather(call_id, call, CallStep.ANSWER_END if flags & END else CallStep.ANSWER, body)

    def on_offer(self, _flags: int, call_id: int, body: bytes, events: list[Event]) -> None:
        """OFFER: streams that come with the answer of a call made here."""
        call = self._made_here.get(call_id)
        if call is None or call.cast:
            raise RemoteProtocolError(f"streams for call {call_id}, which nobody waits for")
        self._advance(call_id, call, CallStep.OFFER)
        first, names = decode_offer(body)
        self._line.open_remote_offer(first, len(names))
        ids = offered_ids(first, len(names))
        self._streams.announce(ids)
        if call.cancelled:
            for stream_id in ids:
                self._streams.reset(stream_id, ResetCode.CANCELLED, "the call was cancelled")
            return
        events.append(StreamsOffered(call_id=call_id, streams=dict(zip(names, ids, strict=True))))

    def on_body(self, flags: int, call_id: int, body: bytes, events: list[Event]) -> None:
        """BODY: more of a request or of an answer."""
        self._line.message_window.arrive(len(body))
        call = self._made_there.get(call_id) or self._made_here.get(call_id)
        if call is None:
            self._line.check_late(call_id, "more of a message")
            self._line.return_message(len(body))
            return
        self._gather(call_id, call, CallStep.BODY_END if flags & END else CallStep.BODY, body)
        if not flags & END:
            return
        message, call.parts = b"".join(call.parts or ()), None
        if call_id in self._made_there:
            self._line.return_message(len(message))
            self._ask(call_id, call, message, events)
        else:
            self._conclude(call_id, call, message, events)

    def on_cancel(self, _flags: int, call_id: int, body: bytes, events: list[Event]) -> None:
        """CANCEL of a call made there."""
        match decode(body):
            case [str(reason), *_]:
                pass
            case _:
                raise RemoteProtocolError("malformed cancel")
        call = self._made_there.get(call_id)
        if call is None:
            self._line.check_late(call_id, "a cancel")
            return
        call.cancelled = True
        self._advance(call_id, call, CallStep.CANCEL)
        if call.state is _OVER:
            self._line.return_message(call.size)
            del self._made_there[call_id]
            self._line.closed(call_id)
            self._line.answer(frame(Kind.DONE, 0, call_id))
        else:
            events.append(CancelArrived(call_id=call_id, reason=reason[:_MAX_REASON]))

    def on_done(self, _flags: int, call_id: int, _body: bytes, events: list[Event]) -> None:
        """DONE: a cast or a cancelled call is over."""
        call = self._made_here.get(call_id)
        if call is None:
            self._line.check_late(call_id, "done")
            return
        if not (call.cast or call.cancelled):
            raise RemoteProtocolError(f"call {call_id} ended without an answer")
        self._advance(call_id, call, CallStep.DONE)
        del self._made_here[call_id]
        self._line.closed(call_id)
        events.append(CallEnded(call_id=call_id))

    # ---------------------------------------------------------------------------------------------------- inside

    def _ask(self, call_id: int, call: _Call, message: bytes, events: list[Event]) -> None:
        header, body = split_request(message)
        call.cast = header.kind is _CAST
        ids: Mapping[str, int] = _NO_STREAMS
        if header.streams:
            call.streams = len(header.streams)
            ids = dict(zip(header.streams, stream_ids(call_id, call.streams), strict=True))
            self._line.open_remote_streams(call_id, call.streams)
            self._streams.announce(ids.values())
        events.append(CallArrived(call_id, header, body, ids))

    def _conclude(self, call_id: int, call: _Call, message: bytes, events: list[Event]) -> None:
        self._line.return_message(len(message))
        del self._made_here[call_id]
        self._line.closed(call_id)
        if call.cancelled:
            events.append(CallEnded(call_id=call_id))
        elif call.failed:
            events.append(FailureArrived(call_id=call_id, body=message))
        else:
            events.append(ReplyArrived(call_id=call_id, body=message))

    def _gather(self, call_id: int, call: _Call, step: CallStep, body: bytes) -> None:
        self._advance(call_id, call, step)
        call.size += len(body)
        self._check_length(call_id, call.size)
        if call.parts is None:
            call.parts = []
        call.parts.append(body)

    def _check_length(self, call_id: int, size: int) -> None:
        if size > self._line.limits.message:
            raise RemoteProtocolError(f"a message of more than {self._line.limits.message} bytes on {call_id}")

    def _advance(self, call_id: int, call: _Call, step: CallStep) -> None:
        after = CALL_LIFE.get((call.state, step))
        if after is None:
            raise RemoteProtocolError(f"{step.value} for call {call_id}, but {call.state.value}")
        call.state = after

    def _finish(self, call_id: int, cost: int | None) -> None:
        call = self._made_there.get(call_id)
        if call is None or call.state is _ASKING:
            raise LocalProtocolError(f"call {call_id} is over or not complete")
        if cost is not None:
            if call.cast:
                raise LocalProtocolError(f"nobody waits for an answer to cast {call_id}")
            self._line.message_allowance.spend(cost)
        del self._made_there[call_id]
        self._line.open_there -= 1

    def _check_size(self, message: bytes) -> None:
        if len(message) > self._line.peer.message:
            raise LocalProtocolError(f"a message of {len(message)} bytes; the peer takes {self._line.peer.message}")
