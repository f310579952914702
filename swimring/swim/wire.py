"""Envelopes to bytes and back, as datagrams and as frames of a stream.

datagram    magic | CBOR array | tag
frame       magic | length of the rest, 4 bytes | CBOR array | tag

The magic byte is 0xE in the high and the version in the low half. The tag is 8 bytes of SipHash-2-4 over everything
before it, keyed by the cluster's name: it keeps clusters apart and catches damage; without a secret it authenticates
nothing. The array grows at its end: kind, sequence, source name, generation, incarnation, destination name,
generation, rumours, then what the kind adds. Bytes from others are guilty: only `BytesRefused` leaves these decoders.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

import siphash24

from swimring.codec import encode
from swimring.errors import GossipRefused, RemoteProtocolError
from swimring.identity import NodeId

from .broadcast import LIST_OVERHEAD, Broadcast, ids_from
from .digests import digest_from, names_from
from .member import CHECKSUM_LIMIT, NUMBER_LIMIT, Rumour, array, name_from, number
from .messages import (
    Ack,
    Envelope,
    Gossip,
    KeyMissing,
    Message,
    Nack,
    Ping,
    PingRequest,
    Recall,
    Recap,
    RefusalAnswer,
    RefusalQuery,
    Refused,
    Replay,
    State,
    Unknown,
)
from .recognition import MAX_RUMOURS, RUMOURS_AT, STATE, array_head, read_array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

VERSION: Final = 1
MAGIC: Final = 0xE0 | VERSION
TAG_SIZE: Final = 8
MAX_DATAGRAM: Final = 4096  # what we send is smaller; this is what we read
MAX_FRAME: Final = 64 * 1024
FRAME_HEADER_SIZE: Final = 5
_MAX_BUDGET_MS: Final = 60_000
_MAX_LAG_MS: Final = 60_000
_MAX_REASON: Final = 200


class BytesRefused(GossipRefused):
    """Bytes that are no message of our cluster and version.

    Attributes:
        reason: one of ``empty``, ``truncated``, ``oversized``, ``magic``, ``version``, ``cluster``, ``malformed``;
            ``cluster`` is also what damage on the way looks like.
    """


def tag_key(cluster: str) -> bytes:
    """The 16-byte key of the tags of ``cluster``."""
    return hashlib.blake2b(cluster.encode(), digest_size=16, person=b"swimring-tag").digest()


def encode_datagram(envelope: Envelope, *, key: bytes) -> bytes:
    """The datagram that carries ``envelope``."""
    return _sealed(bytes([MAGIC]) + _encoded(envelope), key)


def encode_padded_ping(envelope: Envelope, *, key: bytes, size: int) -> bytes:
    """A datagram of ``size`` bytes, some hundred at least, with a ping and an item that says nothing.

    It comes after those that a reader knows, so the ping is answered as any: where small ones are answered and this one
    is not, large datagrams do not pass.
    """
    wire = _to_wire(envelope)
    known = [*wire, *[None] * (9 + _BROADCASTS_AT[Ping] - len(wire))]
    spare = size - 1 - TAG_SIZE - len(encode([*known, bytes(256)])) + 256
    return _sealed(bytes([MAGIC]) + encode([*known, bytes(max(spare, 256))]), key)


def decode_datagram(data: bytes, *, key: bytes) -> Envelope:
    """The envelope that a datagram carries.

    Raises:
        BytesRefused: it is no datagram of this cluster and version.
    """
    if len(data) > MAX_DATAGRAM:
        raise BytesRefused("oversized", f"a datagram of {len(data)} bytes, more than {MAX_DATAGRAM}")
    check_magic(data)
    return _opened(data, 1, key)


def encode_frame(envelope: Envelope, *, key: bytes) -> bytes:
    """The frame that carries ``envelope`` on a stream."""
    body = _encoded(envelope)
    return _sealed(bytes([MAGIC]) + (len(body) + TAG_SIZE).to_bytes(4, "big") + body, key)


def frame_length(header: bytes) -> int:
    """How many bytes follow the 5 ``header`` bytes of a frame.

    Raises:
        BytesRefused: they do not begin a frame of this version, or one that is too large.
    """
    check_magic(header)
    if len(header) < FRAME_HEADER_SIZE:
        raise BytesRefused("truncated", "a frame ends in its header")
    length = int.from_bytes(header[1:FRAME_HEADER_SIZE], "big")
    if length > MAX_FRAME:
        raise BytesRefused("oversized", f"a frame of {length} bytes, more than {MAX_FRAME}")
    return length


def decode_frame(data: bytes, *, key: bytes) -> Envelope:
    """The envelope that a whole frame carries, its header included.

    Raises:
        BytesRefused: it is no frame of this cluster and version.
    """
    if len(data) != FRAME_HEADER_SIZE + frame_length(data[:FRAME_HEADER_SIZE]):
        raise BytesRefused("truncated", "a frame is not as long as it says")
    return _opened(data, FRAME_HEADER_SIZE, key)


def check_magic(data: bytes) -> None:
    """Look at the first byte of ``data``.

    Raises:
        BytesRefused: there is none, or it is not ours, or of another version.
    """
    if not data:
        raise BytesRefused("empty", "no bytes at all")
    if data[0] & 0xF0 != MAGIC & 0xF0:
        raise BytesRefused("magic", f"begins with {data[0]:#04x}, which is not gossip")
    if data[0] != MAGIC:
        raise BytesRefused("version", f"speaks gossip version {data[0] & 0x0F}, we speak {VERSION}")


def room_for_rumours(envelope: Envelope, *, budget: int) -> int:
    """How many bytes of rumours ``envelope`` still has room for in a datagram of ``budget`` bytes."""
    length_of_the_list = 2  # one byte for up to 23 items is counted already
    return budget - 1 - TAG_SIZE - len(_encoded(envelope)) - length_of_the_list


def carries_broadcasts(message: Message) -> bool:
    """Whether broadcasts can travel with ``message``."""
    return type(message) in _BROADCASTS_AT


def room_for_broadcasts(envelope: Envelope, *, budget: int) -> int:
    """How many bytes of broadcasts ``envelope``, which has none, has room for in a datagram of ``budget`` bytes."""
    return room_for_rumours(envelope, budget=budget) - LIST_OVERHEAD


def _sealed(data: bytes, key: bytes) -> bytes:
    tag: bytes = siphash24.siphash24(data, key=key).digest()
    return data + tag


def _opened(data: bytes, start: int, key: bytes) -> Envelope:
    if len(data) < start + TAG_SIZE:
        raise BytesRefused("truncated", "too short for a tag")
    body, tag = data[:-TAG_SIZE], data[-TAG_SIZE:]
    if not hmac.compare_digest(siphash24.siphash24(body, key=key).digest(), tag):
        raise BytesRefused("cluster", "the tag does not fit: another cluster, or damaged")
    try:
        return _from_wire(read_array(body[start:]))
    except RemoteProtocolError as error:
        raise BytesRefused("malformed", str(error)) from error


def _encoded(envelope: Envelope) -> bytes:
    """The CBOR array of `_to_wire`; what is sent many times, records and summaries, brings its bytes along."""
    wire = _to_wire(envelope)
    rumours = [rumour.encoded for rumour in envelope.rumours]
    tail = [_item(item) for item in wire[RUMOURS_AT + 1 :]]
    return b"".join((array_head(len(wire)), _head(*wire[:RUMOURS_AT]), array_head(len(rumours)), *rumours, *tail))


def _item(item: object) -> bytes:
    """The bytes of one of the items that come after the rumours; a digest is a tuple."""
    if isinstance(item, tuple):
        return b"".join((array_head(len(item)), *[summary.encoded for summary in item]))
    return encode(item)


@functools.lru_cache(maxsize=64)
def _head(
    kind: int, sequence: int, source: str, generation: int, incarnation: int, destination: str, its_generation: int
) -> bytes:
    """The bytes of what comes before the rumours; an envelope is encoded twice, to measure it and to send it."""
    sender, receiver = _party(source, generation), _party(destination, its_generation)
    return b"".join((_number(kind), encode(sequence), sender, _number(incarnation), receiver))


@functools.lru_cache(maxsize=256)
def _number(number: int) -> bytes:
    return encode(number)


@functools.lru_cache(maxsize=8192)
def _party(name: str, generation: int) -> bytes:
    return encode(name) + encode(generation)


def _to_wire(envelope: Envelope) -> list[object]:
    destination = envelope.destination or NodeId("", 0)
    source = envelope.source
    kind, body = _message_to_wire(envelope.message)
    if envelope.broadcasts:
        place = _BROADCASTS_AT[type(envelope.message)]
        absent = _ABSENT[len(body) : place]
        body = [*body, *absent, [each.to_wire() for each in envelope.broadcasts]]
    return [
        kind, envelope.sequence, source.name, source.generation, envelope.incarnation,
        destination.name, destination.generation, envelope.rumours, *body,
    ]  # fmt: skip


def _from_wire(wire: object) -> Envelope:
    kind, sequence, name, generation, incarnation, to_name, to_generation, rumours = array(wire, 8, "envelope")
    if not isinstance(rumours, list) or len(rumours) > MAX_RUMOURS:
        raise RemoteProtocolError("rumours: a list")
    assert isinstance(wire, list)
    message = _message_from_wire(number(kind, NUMBER_LIMIT, "kind"), wire[8:])
    return Envelope(
        source=_identity(name, generation),
        incarnation=number(incarnation, NUMBER_LIMIT, "incarnation"),
        destination=_destination(to_name, to_generation),
        sequence=number(sequence, NUMBER_LIMIT, "sequence"),
        message=message,
        rumours=tuple([one if isinstance(one, Rumour) else Rumour.from_wire(one) for one in rumours]),
        broadcasts=_broadcasts_in(message, wire[8:]),
    )


def _broadcasts_in(message: Message, body: Sequence[object]) -> tuple[Broadcast, ...]:
    place = _BROADCASTS_AT.get(type(message))
    found = None if place is None or len(body) <= place else body[place]
    if found is None:
        return ()
    if not isinstance(found, list) or len(found) > MAX_RUMOURS:
        raise RemoteProtocolError("broadcasts: a list")
    return tuple(Broadcast.from_wire(broadcast) for broadcast in found)


def _identity(name: object, generation: object) -> NodeId:
    if type(name) is str and type(generation) is int:
        return _known_identity(name, generation)
    raise RemoteProtocolError("source or destination: a name and a number")


@functools.lru_cache(maxsize=8192)
def _known_identity(name: str, generation: int) -> NodeId:
    """Checked once for each of those that talk to each other."""
    return NodeId(name_from(name), number(generation, NUMBER_LIMIT, "generation"))


def _destination(name: object, generation: object) -> NodeId | None:
    if name == "":
        return None
    return _identity(name, generation)


def _message_to_wire(message: Message) -> tuple[int, list[object]]:
    if type(message) is Gossip:  # most are
        return _BARE_KINDS[Gossip], []
    match message:
        case Ping() | Ack():
            return _BARE_KINDS[type(message)], _view_to_wire(message)
        case PingRequest(target=target, budget=budget):
            return 4, [target.name, target.generation, round(budget * 1000)]
        case RefusalQuery(target=target):
            return 6, [target.name, target.generation]
        case RefusalAnswer(refused=refused):
            return 7, [refused]
        case Unknown(kind=kind):
            return kind, []
        case _:
            return _stream_message_to_wire(message)


def _stream_message_to_wire(message: Message) -> tuple[int, list[object]]:
    match message:
        case State():
            return STATE, _state_to_wire(message)
        case Refused(reason=reason):
            return 9, [reason[:_MAX_REASON]]
        case Recall(floor=floor, ids=ids):
            return 10, [floor, b"".join(ids)]
        case Replay(more=more, wanted=wanted):
            return 11, [more, b"".join(wanted)]
        case _:
            return _BARE_KINDS[type(message)], []


def _view_to_wire(message: Ping | Ack) -> list[object]:
    if message.checksum is None:
        return []
    if isinstance(message, Ping):
        return [message.checksum]
    return [message.checksum, min(round(message.lag * 1000), _MAX_LAG_MS - 1)]


def _state_to_wire(state: State) -> list[object]:
    wanted = None if state.wanted is None else list(state.wanted)
    recap = None if state.recap is None else [state.recap.clock, state.recap.floor, state.recap.checksum]
    body: list[object] = [state.more, state.digest, wanted, recap, state.checksum]
    while body[-1] is None:
        del body[-1]
    return body


def _message_from_wire(kind: int, body: Sequence[object]) -> Message:
    read = _READERS.get(kind)
    return Unknown(kind=kind) if read is None else read(list(body))


def _target(name: object, generation: object) -> NodeId:
    return NodeId(name_from(name), number(generation, NUMBER_LIMIT, "target"))


def _read_ping(body: list[object]) -> Message:
    return Ping(checksum=_checksum(body[0]) if body else None)


def _read_ack(body: list[object]) -> Message:
    checksum = _checksum(body[0]) if body else None
    lag = number(body[1], _MAX_LAG_MS, "lag") / 1000 if len(body) > 1 else 0.0
    return Ack(checksum=checksum, lag=0.0 if checksum is None else lag)


def _checksum(wire: object) -> int | None:
    return None if wire is None else number(wire, CHECKSUM_LIMIT, "checksum")


def _read_ping_request(body: list[object]) -> Message:
    name, generation, budget = array(body, 3, "ping request")
    return PingRequest(target=_target(name, generation), budget=number(budget, _MAX_BUDGET_MS, "budget") / 1000)


def _read_refusal_query(body: list[object]) -> Message:
    name, generation = array(body, 2, "refusal query")
    return RefusalQuery(target=_target(name, generation))


def _read_refusal_answer(body: list[object]) -> Message:
    return RefusalAnswer(refused=_flag(*array(body, 1, "refusal answer")))


def _read_state(body: list[object]) -> Message:
    more, digest, wanted, recap, checksum = array([*body, None, None, None, None] if body else body, 5, "state")
    return State(
        more=_flag(more),
        digest=None if digest is None else digest_from(digest),
        wanted=None if wanted is None else names_from(wanted),
        recap=None if recap is None else _recap(recap),
        checksum=_checksum(checksum),
    )


def _recap(wire: object) -> Recap:
    clock, floor, checksum = array(wire, 3, "recap")
    return Recap(
        clock=number(clock, CHECKSUM_LIMIT, "clock"),
        floor=number(floor, CHECKSUM_LIMIT, "floor"),
        checksum=number(checksum, CHECKSUM_LIMIT, "checksum"),
    )


def _read_recall(body: list[object]) -> Message:
    floor, ids = array(body, 2, "recall")
    return Recall(floor=number(floor, CHECKSUM_LIMIT, "floor"), ids=ids_from(ids))


def _read_replay(body: list[object]) -> Message:
    more, wanted = array(body, 2, "replay")
    return Replay(more=_flag(more), wanted=ids_from(wanted))


def _read_refused(body: list[object]) -> Message:
    (reason,) = array(body, 1, "refused")
    if not isinstance(reason, str):
        raise RemoteProtocolError("refused: a reason is text")
    return Refused(reason=reason[:_MAX_REASON])


def _flag(wire: object) -> bool:
    if not isinstance(wire, bool):
        raise RemoteProtocolError("a flag is true or false")
    return wire


_BARE_KINDS: Final[Mapping[type[Message], int]] = {Ping: 1, Ack: 2, Nack: 3, Gossip: 5, KeyMissing: 20}
# Where in what the kind adds its broadcasts stand, and what stands before them where there is nothing to say.
_BROADCASTS_AT: Final[Mapping[type[Message], int]] = {Gossip: 0, Ping: 1, Ack: 2, Replay: 2}
_ABSENT: Final[Sequence[object]] = (None, 0)
_READERS: Final[Mapping[int, Callable[[list[object]], Message]]] = {
    1: _read_ping,
    2: _read_ack,
    3: lambda _body: Nack(),
    4: _read_ping_request,
    5: lambda _body: Gossip(),
    6: _read_refusal_query,
    7: _read_refusal_answer,
    STATE: _read_state,
    9: _read_refused,
    10: _read_recall,
    11: _read_replay,
    20: lambda _body: KeyMissing(),
}
