"""Everything of ours that reads bytes of strangers, as functions of bytes: only `RemoteProtocolError` may escape.

Each target also says when more is kept than the bytes are worth. They are driven by Hypothesis in every run of the
tests, and by coverage (`python -m tests.fuzz TARGET`, see `nox -s fuzz`) when there is time.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import siphash24

from swimring.codec import decode
from swimring.errors import RemoteProtocolError
from swimring.identity import NodeId
from swimring.mux import (
    CallArrived,
    CallHeader,
    CallKind,
    DataArrived,
    Hello,
    Limits,
    Phase,
    Secret,
    Session,
    cluster_digest,
    decode_failure,
    decode_fields,
)
from swimring.mux.header import split_request
from swimring.mux.items import ItemReader
from swimring.swim import MAGIC, decode_datagram, encode_datagram, tag_key

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS: Final = Limits(streams=50, frame_body=16_384, stream_window=16_384, connection_window=32_768)
HELLO: Final = Hello(node=NodeId("b", 1), cluster=cluster_digest("test"), limits=LIMITS).to_bytes()
GREETING: Final = b"\xf1" + len(HELLO).to_bytes(3, "big") + bytes([1, 0]) + bytes(7) + HELLO
GOSSIP_KEY: Final = tag_key("test")
_SECRET: Final = Secret(keys=(bytes(32),), nonce=bytes(32), required=True)
_KEPT_PER_BYTE: Final = 60
"""A frame of 12 bytes may open a call: a few hundred bytes of books."""
_KEPT_ANYWAY: Final = 60_000


def size_of(*roots: object) -> int:
    """Bytes that objects and all they refer to take, shared ones once; not those of classes, functions and modules."""
    seen: set[int] = set()
    todo: list[Any] = list(roots)
    total = 0
    while todo:
        one = todo.pop()
        if id(one) in seen or callable(one):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        if isinstance(one, dict):
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)) or type(one).__name__ == "deque":
            todo += one
        elif type(one).__module__.startswith("swimring"):
            names = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
            todo += [getattr(one, name) for name in names if hasattr(one, name)]
            todo.append(getattr(one, "__dict__", None))
    return total


def feed(session: Session, data: bytes) -> None:
    """Give ``data`` in pieces, as its first byte says; act like an application; see that little is kept."""
    step = (1, 7, 500, 1 << 20)[data[0] & 3] if data else 1
    read = bool(data and data[0] & 4)
    try:
        for start in range(1, len(data), step):
            for event in session.receive(data[start : start + step]):
                _act(session, event, read=read)
        session.receive_eof()
    except RemoteProtocolError:
        assert session.phase is Phase.CLOSED
    kept = size_of(session)
    assert kept <= _KEPT_ANYWAY + _KEPT_PER_BYTE * len(data), f"{kept} bytes are kept of {len(data)}"
    session.bytes_to_send()


def _act(session: Session, event: object, *, read: bool) -> None:
    if isinstance(event, DataArrived) and read:
        session.consume(event.stream_id, len(event.data))
    elif isinstance(event, CallArrived) and read:
        if event.header.kind is CallKind.CAST:
            session.done(event.call_id)
        elif session.has_credit(1):
            session.reply(event.call_id, b"\xf6")


def stranger(data: bytes, *, dialled: bool = False, secret: Secret | None = None) -> None:
    """Whatever comes before a hello, and after one that the fuzzer finds."""
    feed(Session(me=NodeId("a", 1), cluster="test", limits=LIMITS, dialled=dialled, secret=secret), data)


def peer(data: bytes, *, dialled: bool = False) -> None:
    """Frames of a peer whose hello was accepted, while calls of ours are under way."""
    session = Session(me=NodeId("a", 1), cluster="test", limits=LIMITS, dialled=dialled)
    session.receive(GREETING)
    for number in range(3):
        session.request(CallHeader(cmd="c", streams=("x",) * (number % 2)), b"\xa0")
    session.request(CallHeader(cmd="c", kind=CallKind.CAST), b"\xa0")
    session.bytes_to_send()
    feed(session, data)


def items(data: bytes) -> None:
    """Item streams: what is cut out is what was put in, and at most one item is kept."""
    reader, found = ItemReader(1_000), []
    step = 1 + (data[0] if data else 0)
    try:
        for start in range(1, len(data), step):
            found += reader.feed(data[start : start + step])
            assert size_of(reader) <= 5_000
        reader.finish()
    except RemoteProtocolError:
        return
    assert b"".join(len(one).to_bytes(4, "big") + one for one in found) == data[1:]


def decoders(data: bytes) -> None:
    """Whatever is decoded out of a frame."""
    for decoder in (decode, Hello.from_bytes, split_request, partial(decode_fields, CallHeader(cmd="c"))):
        with suppress(RemoteProtocolError):
            decoder(data)
    with suppress(RemoteProtocolError):
        decode_failure(data)


def gossip(data: bytes) -> None:
    """A datagram, with a right tag: what is understood survives another trip."""
    with suppress(RemoteProtocolError):
        decode_datagram(data, key=GOSSIP_KEY)
    body = bytes([MAGIC]) + data
    with suppress(RemoteProtocolError):
        envelope = decode_datagram(body + siphash24.siphash24(body, key=GOSSIP_KEY).digest(), key=GOSSIP_KEY)
        assert decode_datagram(encode_datagram(envelope, key=GOSSIP_KEY), key=GOSSIP_KEY) == envelope


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "listener": stranger,
    "dialler": partial(stranger, dialled=True),
    "secret-listener": partial(stranger, secret=_SECRET),
    "secret-dialler": partial(stranger, dialled=True, secret=_SECRET),
    "peer-that-dialled": peer,
    "peer-that-was-dialled": partial(peer, dialled=True),
    "items": items,
    "decoders": decoders,
    "gossip": gossip,
}
