"""One connection without its socket: bytes in; bytes and events out. It has no clock: the driver has the patience.

Feed `receive`, act on the events, then write what `bytes_to_send` returns. A `RemoteProtocolError` from `receive` ends
the session: write what is left (it says why) and close. After one of our own methods raised `LocalProtocolError`
nothing has changed and nothing was sent.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from swimring.codec import decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError

from .calls import Calls
from .events import CreditArrived, GoAwayArrived, PeerReady, PongArrived, RefusalArrived
from .frames import HEADER, HEADER_SIZE, IGNORABLE, MAGIC, MAX_STREAM_ID, MESSAGES, Kind, frame
from .hello import ANY_CLUSTER, CLIENT, OFFERS, Hello, HelloRefused, RefusalCode, check_hello, cluster_digest
from .line import Line
from .phases import GoAwayCode, Phase
from .proof import check_proof, key_id, prove
from .stream import ResetCode, Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from swimring.identity import NodeId

    from .events import Event
    from .header import CallHeader
    from .limits import Limits
    from .proof import Secret
    from .stream import StreamState

_MAX_REASON: Final = 512
_LARGE: Final = 16 * 1024
"""Bytes that came at once from which on it is worth to copy only what has to be."""
_OPEN: Final = Phase.OPEN  # as quick to look up as they are often asked about
_CLOSED: Final = Phase.CLOSED


class Session:
    """Calls and byte streams over one connection, for either side."""

    def __init__(
        self,
        *,
        me: NodeId,
        cluster: str | None,
        limits: Limits,
        dialled: bool,
        client: bool = False,
        secret: Secret | None = None,
    ) -> None:
        """Who dialled speaks first; the other side answers the hello with its own, or with a refusal.

        A ``client`` is no member; only it may leave the ``cluster`` open, to talk to whichever it finds. Who has a
        ``secret`` proves it, and may require the same of the other side.

        Raises:
            LocalProtocolError: a node without a cluster.
        """
        if cluster is None and not client:
            raise LocalProtocolError("only a client may leave the cluster open")
        digest = ANY_CLUSTER if cluster is None else cluster_digest(cluster)
        self.hello = Hello(node=me, cluster=digest, limits=limits, features=(CLIENT, OFFERS) if client else (OFFERS,))
        if secret is not None:
            self.hello = replace(self.hello, nonce=secret.nonce, key_ids=secret.ids)
        self.peer: Hello | None = None
        self.version = 0
        self.going_away = False
        self.told_to_go_away = False
        self._phase = Phase.PREFACE
        self._limits = limits
        self._tail = b""
        self._line = Line(limits, dialled=dialled)
        self._streams = Streams(self._line)
        self._calls = Calls(self._line, self._streams)
        self.ask = self._calls.ask
        self.reply_if_credit = self._calls.reply_if_credit
        self._handlers = self._table()
        self._dialled = dialled
        self._secret = secret
        self._expected_proof = b""
        self._early_farewell = b""
        if dialled:
            self._greet()

    def __repr__(self) -> str:
        peer = self.peer.node.name if self.peer else "a stranger"
        return f"<Session with {peer}: {self._phase.value}, {len(self._calls)} calls, {len(self._streams)} streams>"

    @property
    def phase(self) -> Phase:
        """How far the connection is."""
        return self._phase

    @property
    def idle(self) -> bool:
        """Whether no call and no stream is open on either side."""
        return not len(self._calls) and not len(self._streams)

    @property
    def used(self) -> bool:
        """Whether either side has ever made a call."""
        return self._line.used

    @property
    def open_calls(self) -> int:
        """Calls of both sides that are not over."""
        return len(self._calls)

    @property
    def open_streams(self) -> int:
        """Named streams that are not over."""
        return len(self._streams)

    # ----------------------------------------------------------------------------------------------------- bytes

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes as they come; return what they mean.

        Raises:
            RemoteProtocolError: they break the protocol; the session is closed, the events of this batch are lost.
        """
        if self._phase is _CLOSED:
            return []
        events: list[Event] = []
        try:
            if self._phase is not _OPEN:
                self._parse_hello(self._preface(self._tail + data), events)
            elif not self._tail:
                self._parse(data, events)
            elif len(data) < _LARGE:
                self._parse(self._tail + data, events)
            else:
                self._parse_on(data, events)
            self._line.check_answers()
        except RemoteProtocolError as error:
            self._close(error)
            raise
        return events

    def receive_eof(self) -> None:
        """The other side will send no more.

        Raises:
            RemoteProtocolError: it stopped within a frame or before its hello.
        """
        phase, self._phase = self._phase, _CLOSED
        self._line.asking = False
        if phase is _CLOSED:
            return
        if self._tail or phase is not _OPEN:
            raise RemoteProtocolError(f"the connection ended {'in a frame' if self._tail else phase.value}")

    def bytes_to_send(self, limit: int = 65536) -> bytes:
        """What is to be written now; ``limit`` holds back bulk data, not small calls. Empty when there is nothing."""
        data, emptied = self._line.take(limit)
        for stream_id in emptied:
            self._streams.settle(stream_id)
        return data

    @property
    def has_bytes_to_send(self) -> bool:
        """Whether `bytes_to_send` would return any."""
        return bool(self._line.outbox)

    # ----------------------------------------------------------------------------------------------------- calls

    def has_room(self, size: int, streams: int = 0) -> bool:
        """Whether a request of at most that many bytes can be sent now; `CreditArrived` or the end of a call helps.

        What the other side will never take has room: `request` says why.
        """
        most = self._line.peer.streams
        return self._line.message_allowance.available >= min(size, self._line.peer.message) and (
            self._line.open_here + 1 + streams <= most or 1 + streams > most
        )

    def has_credit(self, size: int) -> bool:
        """Whether an answer of that many bytes can be sent now; `CreditArrived` with id 0 says when to ask again."""
        return self._line.message_allowance.available >= min(size, self._line.peer.message)

    def request(self, header: CallHeader, body: bytes) -> int:
        """Send a request or cast; return its id. Its streams, in the order of the header, have the ids that follow.

        Raises:
            LocalProtocolError: not open, told to go away, too large, no room (`has_room`), or a bad header.
        """
        if self._phase is not _OPEN or self.told_to_go_away:
            raise LocalProtocolError("this connection takes no more calls")
        return self._calls.request(header, body)

    def reply(self, call_id: int, body: bytes) -> None:
        """Answer a call with an encoded value."""
        self._calls.answer(Kind.REPLY, call_id, body)

    def fail(self, call_id: int, record: bytes) -> None:
        """Answer a call with a failure record of `encode_failure`."""
        self._calls.answer(Kind.FAILURE, call_id, record)

    @property
    def peer_takes_offers(self) -> bool:
        """Whether the other side understands `offer`."""
        return self.peer is not None and OFFERS in self.peer.features

    def can_offer(self, streams: int) -> bool:
        """Whether there is room for that many more streams now; the end of a call or stream of ours helps."""
        return self._line.open_here + streams <= self._line.peer.streams

    def offer(self, call_id: int, names: Sequence[str]) -> range:
        """Hand streams over to the caller, once and before the answer; they live on their own. Returns their ids.

        Raises:
            LocalProtocolError: the peer does not take that, nobody waits for the answer, or there is no room.
        """
        if not self.peer_takes_offers:
            raise LocalProtocolError("the caller does not take streams with an answer")
        return self._calls.offer(call_id, names)

    def done(self, call_id: int) -> None:
        """End a cast, or a call that was cancelled, without an answer."""
        self._calls.done(call_id)

    def cancel(self, call_id: int, streams: range, reason: str) -> None:
        """Give up a call made here and its ``streams``; `CallEnded` will confirm it."""
        self._calls.cancel(call_id, reason)
        for stream_id in streams:
            self._streams.reset(stream_id, ResetCode.CANCELLED, reason)

    def was_sent(self, call_id: int) -> bool:
        """Whether any byte of that call may have reached the other side."""
        return self._calls.was_sent(call_id)

    # --------------------------------------------------------------------------------------------------- streams

    def stream_state(self, stream_id: int) -> StreamState:
        """Where in its life a stream is; unknown ones are closed."""
        return self._streams.state(stream_id)

    def send(self, stream_id: int, data: bytes | memoryview) -> int:
        """Queue as much of ``data`` as there is credit for; return how many bytes that were."""
        return self._streams.send(stream_id, data)

    @property
    def has_stream_credit(self) -> bool:
        """Whether the credit that all streams share is not spent; a stream needs its own as well."""
        return self._line.allowance.available > 0

    def finish(self, stream_id: int) -> None:
        """End our direction of a stream, behind what was sent."""
        self._streams.finish(stream_id)

    def reset(self, stream_id: int, code: int, reason: str) -> None:
        """Give up a stream; after `finish`, only what the other side still sends."""
        self._streams.reset(stream_id, code, reason)

    def consume(self, stream_id: int, count: int) -> None:
        """Return the credit of bytes that the application has read or will never read."""
        self._streams.consume(stream_id, count)

    # ---------------------------------------------------------------------------------------------------- manners

    def ping(self, payload: bytes) -> None:
        """Ask for a `PongArrived` with the same 8 bytes."""
        if len(payload) != 8:
            raise LocalProtocolError("a ping carries 8 bytes")
        self._line.outbox.push(frame(Kind.PING, 0, 0, payload))

    def go_away(self, code: int, reason: str, *, retry_after: float | None = None) -> None:
        """Take no more calls: those that arrived are finished, later ones are refused untouched. Only once.

        Before the hellos it counts at once and is said right behind them. On a duplicate nothing is refused: what the
        peer has sent before it hears of it is finished, too.
        """
        if self.going_away or self._phase is Phase.CLOSED:
            return
        self.going_away = True
        self._line.refusing = code != GoAwayCode.DUPLICATE
        hint = None if retry_after is None else int(retry_after * 1000)
        last = self._line.last_there if self._line.refusing else MAX_STREAM_ID
        farewell = frame(Kind.GOAWAY, 0, 0, encode([last, code, reason[:_MAX_REASON], hint]))
        if self._phase is _OPEN:
            self._line.outbox.push(farewell)
        else:
            self._early_farewell = farewell

    def refuse(self, code: RefusalCode, reason: str) -> None:
        """Refuse a hello for a reason that only the driver knows; the session is closed."""
        self._close(HelloRefused(code, reason), hello=True)

    # ---------------------------------------------------------------------------------------------------- inside

    def _table(self) -> dict[int, Callable[[int, int, bytes, list[Event]], None]]:
        calls, streams = self._calls, self._streams
        return {
            Kind.REQUEST: calls.on_request,
            Kind.REPLY: calls.on_reply,
            Kind.FAILURE: partial(calls.on_answer, Kind.FAILURE),
            Kind.OFFER: calls.on_offer,
            Kind.BODY: calls.on_body,
            Kind.CANCEL: calls.on_cancel,
            Kind.DONE: calls.on_done,
            Kind.DATA: streams.on_data,
            Kind.RESET: streams.on_reset,
            Kind.CREDIT: self._on_credit,
            Kind.PING: self._on_ping,
            Kind.PONG: self._on_pong,
            Kind.GOAWAY: self._on_goaway,
            Kind.REFUSE: self._on_refuse,
        }

    def _greet(self) -> None:
        self._line.outbox.push(bytes([MAGIC]))
        self._line.outbox.push(frame(Kind.HELLO, 0, 0, self.hello.to_bytes()))

    def _preface(self, data: bytes) -> bytes:
        if self._phase is Phase.PREFACE and data:
            if data[0] != MAGIC:
                raise RemoteProtocolError(f"byte 0 is {data[0]:#04x}, not {MAGIC:#04x}")
            self._phase = Phase.HELLO
            data = data[1:]
        return data

    def _parse_hello(self, data: bytes, events: list[Event]) -> None:
        """Frame by frame, because each may change what is allowed next."""
        while True:
            length = int.from_bytes(data[:3], "big")
            limit = self._limits.hello_bytes - 1 - HEADER_SIZE
            if len(data) >= HEADER_SIZE and length > limit:
                raise RemoteProtocolError(f"a frame of {length} bytes; at most {limit}")
            end = HEADER_SIZE + length
            if len(data) < end:
                self._tail = data
                return
            word, rest = HEADER.unpack_from(data)
            self._dispatch_hello(word & 0xFF, rest >> 56, rest & MAX_STREAM_ID, data[HEADER_SIZE:end], events)
            data = data[end:]
            if self._phase is _CLOSED:
                self._tail = b""
                return
            if self._phase is _OPEN:
                self._parse(data, events)
                return

    def _parse_on(self, data: bytes, events: list[Event]) -> None:
        """`_parse`, for much that comes behind a part of a frame: only that frame is copied, the rest stays in place.

        To copy all of it costs more than everything else that is done here with bulk data.
        """
        tail = self._tail
        missing = HEADER_SIZE + int.from_bytes((tail[:3] + data[:3])[:3], "big") - len(tail)
        self._parse(b"".join((tail, memoryview(data)[:missing])), events)
        if missing <= len(data) and self._phase is _OPEN:
            self._parse(data, events, missing)

    def _parse(self, data: bytes, events: list[Event], at: int = 0) -> None:
        """All complete frames of ``data`` from ``at`` on: this loop sees every byte of every call."""
        end, limit = len(data), self._limits.frame_body
        unpack, handlers = HEADER.unpack_from, self._handlers
        while end - at >= HEADER_SIZE:
            word, rest = unpack(data, at)
            length = word >> 8
            if length > limit:
                raise RemoteProtocolError(f"a frame of {length} bytes; at most {limit}")
            body_at = at + HEADER_SIZE
            next_at = body_at + length
            if next_at > end:
                break
            at = next_at
            handler = handlers.get(word & 0xFF)
            if handler is not None:
                handler(rest >> 56, rest & MAX_STREAM_ID, data[body_at:at], events)
                if self._phase is _CLOSED:
                    self._tail = b""
                    return
            elif not rest >> 56 & IGNORABLE:
                raise RemoteProtocolError(f"an unknown frame of kind {word & 0xFF:#04x}")
        self._tail = data[at:] if at else data

    def _dispatch_hello(self, kind: int, flags: int, stream_id: int, body: bytes, events: list[Event]) -> None:
        if kind == Kind.HELLO and self._phase is Phase.HELLO:
            self._on_hello(body, events)
        elif kind == Kind.PROOF and self._phase is Phase.PROOF:
            self._on_proof(body, events)
        elif kind == Kind.REFUSE:
            self._on_refuse(flags, stream_id, body, events)
        else:
            raise RemoteProtocolError(f"a frame of kind {kind:#04x} while {self._phase.value}")

    def _on_hello(self, body: bytes, events: list[Event]) -> None:
        peer = Hello.from_bytes(body)
        self.version = check_hello(self.hello, peer)
        key = None if self._secret is None else self._secret.agree(peer)
        self.peer = peer
        self._line.welcome(peer.limits)
        if self._dialled:
            if key is not None:
                check_proof(peer.proof, prove(key, dialler=self.hello, listener=peer, by_dialler=False), peer)
                proof = prove(key, dialler=self.hello, listener=peer, by_dialler=True)
                self._line.outbox.push(frame(Kind.PROOF, 0, 0, proof))
            self._open(peer, events)
            return
        self._greet_back(peer, key)
        if key is None:
            self._open(peer, events)
        else:
            self._phase = Phase.PROOF

    def _greet_back(self, peer: Hello, key: bytes | None) -> None:
        if key is None:
            self.hello = replace(self.hello, nonce=b"", key_ids=())
        else:
            proof = prove(key, dialler=peer, listener=self.hello, by_dialler=False)
            self._expected_proof = prove(key, dialler=peer, listener=self.hello, by_dialler=True)
            self.hello = replace(self.hello, key_ids=(key_id(key),), proof=proof)
        self._greet()

    def _on_proof(self, body: bytes, events: list[Event]) -> None:
        assert self.peer is not None
        check_proof(body, self._expected_proof, self.peer)
        self._open(self.peer, events)

    def _open(self, peer: Hello, events: list[Event]) -> None:
        self._phase = _OPEN
        self._line.asking = True
        if self._early_farewell:
            self._line.outbox.push(self._early_farewell)
        events.append(PeerReady(hello=peer))

    def _on_refuse(self, _flags: int, _stream_id: int, body: bytes, events: list[Event]) -> None:
        match decode(body):
            case [int(code), str(reason), *_]:
                self._phase = _CLOSED
                events.append(RefusalArrived(code=code, reason=reason[:_MAX_REASON]))
            case _:
                raise RemoteProtocolError("malformed refusal")

    def _on_credit(self, flags: int, stream_id: int, body: bytes, events: list[Event]) -> None:
        if len(body) != 4:
            raise RemoteProtocolError("malformed credit")
        count = int.from_bytes(body, "big")
        if stream_id:
            self._streams.on_credit(stream_id, count, events)
            return
        (self._line.message_allowance if flags & MESSAGES else self._line.allowance).grant(count)
        events.append(CreditArrived(stream_id=0))

    def _on_ping(self, _flags: int, _stream_id: int, body: bytes, _events: list[Event]) -> None:
        if len(body) != 8:
            raise RemoteProtocolError("malformed ping")
        self._line.answer(frame(Kind.PONG, 0, 0, body))

    def _on_pong(self, _flags: int, _stream_id: int, body: bytes, events: list[Event]) -> None:
        if len(body) != 8:
            raise RemoteProtocolError("malformed pong")
        events.append(PongArrived(payload=body))

    def _on_goaway(self, _flags: int, _stream_id: int, body: bytes, events: list[Event]) -> None:
        match decode(body):
            case [int(last_id), int(code), str(reason), (int() | None) as hint, *_]:
                pass
            case _:
                raise RemoteProtocolError("malformed goaway")
        self.told_to_go_away = True
        self._line.asking = False
        events.append(
            GoAwayArrived(
                code=code,
                reason=reason[:_MAX_REASON],
                retry_after=None if hint is None else min(max(hint, 0), 3_600_000) / 1000,
                refused=self._calls.refuse_above(last_id),
            )
        )

    def _close(self, error: RemoteProtocolError, *, hello: bool = False) -> None:
        """Say why, as the last frame; to somebody who does not even know byte 0, say nothing."""
        phase, self._phase = self._phase, _CLOSED
        self._line.asking = False
        outbox = self._line.outbox
        if phase is Phase.PREFACE and not hello:
            outbox.clear()
            return
        if phase in {Phase.HELLO, Phase.PROOF} or hello:
            if outbox.taken == 0:
                outbox.clear()
                outbox.push(bytes([MAGIC]))
            code = error.code if isinstance(error, HelloRefused) else RefusalCode.PROTOCOL
            outbox.push(frame(Kind.REFUSE, 0, 0, encode([int(code), str(error)[:_MAX_REASON]])))
            return
        outbox.clear()
        # The largest id: nobody may conclude from an error that a call was not executed.
        body = encode([MAX_STREAM_ID, GoAwayCode.PROTOCOL, str(error)[:_MAX_REASON], None])
        outbox.push(frame(Kind.GOAWAY, 0, 0, body))
