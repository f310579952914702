"""Envelopes to bytes and back: golden bytes, and everything that is refused."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import siphash24

from swimring.codec import decode, encode
from swimring.identity import Address, NodeId
from swimring.swim import (
    FRAME_HEADER_SIZE,
    MAX_DATAGRAM,
    MAX_FRAME,
    TAG_SIZE,
    Ack,
    Broadcast,
    BytesRefused,
    Envelope,
    Gossip,
    KeyMissing,
    Member,
    Message,
    Metadata,
    Nack,
    Ping,
    PingRequest,
    Recall,
    Recap,
    RefusalAnswer,
    RefusalQuery,
    Refused,
    Replay,
    Rumour,
    State,
    Status,
    Summary,
    Unknown,
    carries_broadcasts,
    decode_datagram,
    decode_frame,
    encode_datagram,
    encode_frame,
    frame_length,
    room_for_broadcasts,
    room_for_rumours,
    tag_key,
)

KEY = tag_key("demo")
TARGET = NodeId("carol", 3)
MESSAGES: list[Message] = [
    Ping(),
    Ping(checksum=(1 << 64) - 1),
    Ack(),
    Ack(checksum=7, lag=0.25),
    Nack(),
    KeyMissing(),
    PingRequest(target=TARGET, budget=0.4),
    Gossip(),
    RefusalQuery(target=TARGET),
    RefusalAnswer(refused=True),
    State(more=False),
    State(more=True, digest=(Summary(name="bob", generation=1, incarnation=2, status=Status.DEAD, contents=3),)),
    State(more=False, wanted=("bob", "carol")),
    State(more=False, wanted=(), recap=Recap(clock=9, floor=1, checksum=(1 << 64) - 1)),
    Refused(reason="cluster"),
    Recall(floor=1, ids=(b"i" * 14, b"j" * 14)),
    Replay(more=True, wanted=(b"i" * 14,)),
    Unknown(kind=77),
]
SUSPECT = Rumour(
    member=Member(
        name="carol",
        address=Address("10.0.0.3", 7979),
        generation=3,
        incarnation=2,
        status=Status.SUSPECT,
        metadata=Metadata(services=("kv",)),
    ),
    accuser="alice",
)

SAID = Broadcast(time=7, origin=NodeId("carol", 3), name="deploy", encoded=encode({"version": 2}))


def envelope(message: Message, *rumours: Rumour) -> Envelope:
    return Envelope(
        source=NodeId("alice", 1),
        incarnation=5,
        destination=NodeId("bob", 2),
        sequence=42,
        message=message,
        rumours=rumours,
    )


def telling(message: Message, *rumours: Rumour) -> Envelope:
    return dataclasses.replace(envelope(message, *rumours), broadcasts=(SAID,))


GOLDEN = dict(line.split(": ") for line in (Path(__file__).parent / "golden_v1.txt").read_text().splitlines())
DATAGRAMS = {
    "ping": envelope(Ping()),
    "ping with a rumour": envelope(Ping(), SUSPECT),
    "ping request": envelope(PingRequest(target=TARGET, budget=0.4)),
    "ping with a checksum": envelope(Ping(checksum=0x0123456789ABCDEF)),
    "ack": envelope(Ack()),
    "ack with a checksum": envelope(Ack(checksum=0x0123456789ABCDEF, lag=0.25)),
    "nack": envelope(Nack()),
    "gossip": envelope(Gossip(), SUSPECT),
    "refusal query": envelope(RefusalQuery(target=TARGET)),
    "refusal answer": envelope(RefusalAnswer(refused=True)),
    "gossip with a broadcast": telling(Gossip(), SUSPECT),
    "ping with a broadcast": telling(Ping()),
    "ack with a broadcast": telling(Ack()),
    "ack with a checksum and a broadcast": telling(Ack(checksum=0x0123456789ABCDEF, lag=0.25)),
}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_survives_the_wire(message: Message) -> None:
    to_an_address = dataclasses.replace(envelope(message), destination=None)
    for sent in (envelope(message), envelope(message, SUSPECT), to_an_address):
        assert decode_datagram(encode_datagram(sent, key=KEY), key=KEY) == sent
        assert decode_frame(encode_frame(sent, key=KEY), key=KEY) == sent


@pytest.mark.parametrize("name", DATAGRAMS)
def test_version_1_has_these_bytes(name: str) -> None:
    assert encode_datagram(DATAGRAMS[name], key=KEY).hex() == GOLDEN[name]
    assert decode_datagram(bytes.fromhex(GOLDEN[name]), key=KEY) == DATAGRAMS[name]


def test_a_frame_is_a_datagram_with_a_length() -> None:
    frame = encode_frame(envelope(State(more=False), SUSPECT), key=KEY)
    assert frame.hex() == GOLDEN["frame"]
    assert frame_length(frame[:FRAME_HEADER_SIZE]) == len(frame) - FRAME_HEADER_SIZE


SUMMARY = Summary(name="carol", generation=3, incarnation=2, status=Status.SUSPECT, contents=0x0123456789ABCDEF)
FRAMES: dict[str, Message] = {
    "frame with a digest": State(more=False, digest=(SUMMARY,)),
    "frame with wanted names": State(more=False, wanted=("carol",)),
    "frame with a recap": State(more=False, recap=Recap(clock=7, floor=2, checksum=0x0123456789ABCDEF)),
    "frame with a checksum": State(more=False, checksum=0x0123456789ABCDEF),
    "frame with a recall": Recall(floor=2, ids=(SAID.id,)),
    "frame with a replay": Replay(more=False, wanted=(SAID.id,)),
}


@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_version_1_have_these_bytes(name: str) -> None:
    assert encode_frame(envelope(FRAMES[name], SUSPECT), key=KEY).hex() == GOLDEN[name]
    assert decode_frame(bytes.fromhex(GOLDEN[name]), key=KEY) == envelope(FRAMES[name], SUSPECT)


@pytest.mark.parametrize("message", [Ping(), Ping(checksum=3), Ack(), Ack(checksum=1, lag=0.5), Gossip()])
def test_what_can_travel_with_broadcasts_survives_the_wire_with_them(message: Message) -> None:
    assert carries_broadcasts(message)
    assert decode_datagram(encode_datagram(telling(message), key=KEY), key=KEY) == telling(message)


def test_a_reader_of_the_release_before_broadcasts_finds_everything_else_where_it_was() -> None:
    state = State(more=False, wanted=("bob",))
    messages: list[Message] = [Ping(checksum=5), Ack(checksum=5, lag=1.0), Gossip(), state]
    for message in messages:
        then = decode(encode_datagram(envelope(message, SUSPECT), key=KEY)[1:-TAG_SIZE])
        if message is state:
            sent = envelope(dataclasses.replace(state, recap=Recap(clock=1, floor=0, checksum=2)), SUSPECT)
        else:
            sent = telling(message, SUSPECT)
        today = decode(encode_datagram(sent, key=KEY)[1:-TAG_SIZE])
        assert isinstance(then, list)
        assert isinstance(today, list)
        assert today[: len(then)] == then


def test_the_id_of_a_broadcast_is_its_time_and_six_bytes_of_its_hash() -> None:
    assert SAID.id.hex() == GOLDEN["id of the broadcast"]


def test_the_room_for_broadcasts_is_what_a_datagram_has_left() -> None:
    messages: list[Message] = [Ping(), Ack(), Ack(checksum=1 << 60, lag=59.0), Gossip()]
    for message, count in itertools.product(messages, (1, 5, 30)):
        empty = envelope(message, SUSPECT)
        full = dataclasses.replace(empty, broadcasts=(SAID,) * count)
        told = count * len(encode(SAID.to_wire()))
        assert len(encode_datagram(full, key=KEY)) <= 1400 - room_for_broadcasts(empty, budget=1400) + told


def refusal(data: bytes, *, key: bytes = KEY) -> str:
    with pytest.raises(BytesRefused) as caught:
        decode_datagram(data, key=key)
    return caught.value.reason


def test_bytes_that_are_no_datagram_of_ours_are_refused_for_a_reason() -> None:
    good = encode_datagram(envelope(Ping(), SUSPECT), key=KEY)
    assert refusal(b"") == "empty"
    assert refusal(good[:5]) == "truncated"
    assert refusal(good + b"x" * MAX_DATAGRAM) == "oversized"
    assert refusal(b"GET / HTTP/1.1") == "magic"
    assert refusal(b"\xe2" + good[1:]) == "version"
    assert refusal(good, key=tag_key("other")) == "cluster"
    assert refusal(good + b"x") == "cluster"


def test_every_truncation_is_refused() -> None:
    good = encode_datagram(envelope(Ping(), SUSPECT), key=KEY)
    for length in range(len(good)):
        assert refusal(good[:length]) in {"empty", "truncated", "cluster"}


def test_every_flipped_bit_is_refused() -> None:
    good = encode_datagram(envelope(Ping()), key=KEY)
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        assert refusal(bytes(damaged)) in {"magic", "version", "cluster"}


def sealed(wire: object) -> bytes:
    """What an insider could send: any CBOR under the right tag."""
    blank = encode_datagram(envelope(Ping()), key=KEY)
    body = blank[:1] + encode(wire)
    return body + bytes(siphash24.siphash24(body, key=KEY).digest())


@pytest.mark.parametrize(
    "wire",
    [
        None, [], {}, "x", [1] * 7, [1, 1, "a", 1, 1, "", 0, None], [-1, 1, "a", 1, 1, "", 0, []],
        ["1", 1, "a", 1, 1, "", 0, []], [1, 1 << 62, "a", 1, 1, "", 0, []], [1, 1, "", 1, 1, "", 0, []],
        [1, 1, "a", -1, 1, "", 0, []], [1, 1, "a", 1, 1, 5, 0, []], [1, 1, "a", 1, 1, "b", "x", []],
        [1, 1, "a", 1, 1, "", 0, [[]]], [4, 1, "a", 1, 1, "", 0, []], [4, 1, "a", 1, 1, "", 0, [], "b", 1, -1],
        [4, 1, "a", 1, 1, "", 0, [], "b", 1, 60_000], [6, 1, "a", 1, 1, "", 0, [], 1, 1],
        [1, 1, "a", 1, 1, "", 0, [], "x"], [2, 1, "a", 1, 1, "", 0, [], -1], [1, 1, "a", 1, 1, "", 0, [], 1 << 64],
        [2, 1, "a", 1, 1, "", 0, [], 1, 60_000], [8, 1, "a", 1, 1, "", 0, [], True, 5],
        [8, 1, "a", 1, 1, "", 0, [], True, [["b"]]], [8, 1, "a", 1, 1, "", 0, [], True, [], [1]],
        [7, 1, "a", 1, 1, "", 0, [], 1],
        [1, 1, "a", 1, 1, "", 0, [], None, 5], [5, 1, "a", 1, 1, "", 0, [], [[]]],
        [5, 1, "a", 1, 1, "", 0, [], [[1, "a", 1, "", b""]]], [5, 1, "a", 1, 1, "", 0, [], [[1, "a", 1, 5, b""]]],
        [5, 1, "a", 1, 1, "", 0, [], [[1, "a", 1, "n" * 129, b""]]],
        [5, 1, "a", 1, 1, "", 0, [], [[1, "a", 1, "n", b"x" * 1401]]],
        [5, 1, "a", 1, 1, "", 0, [], [[1, "a", 1, "n", "x"]]],
        [5, 1, "a", 1, 1, "", 0, [], [[-1, "a", 1, "n", b""]]], [5, 1, "a", 1, 1, "", 0, [], [[1, "", 1, "n", b""]]],
        [8, 1, "a", 1, 1, "", 0, [], True, None, None, 5], [8, 1, "a", 1, 1, "", 0, [], True, None, None, [1, 1, -1]],
        [10, 1, "a", 1, 1, "", 0, [], 1], [10, 1, "a", 1, 1, "", 0, [], 1, b"x" * 13],
        [10, 1, "a", 1, 1, "", 0, [], 1, []],
        [11, 1, "a", 1, 1, "", 0, [], 1, b""], [11, 1, "a", 1, 1, "", 0, [], True, b"x"],
        [8, 1, "a", 1, 1, "", 0, []], [9, 1, "a", 1, 1, "", 0, [], 1],
    ],
)  # fmt: skip
def test_an_envelope_that_makes_no_sense_is_malformed(wire: object) -> None:
    assert refusal(sealed(wire)) == "malformed"


def test_items_of_a_later_version_are_ignored() -> None:
    grown = sealed([1, 42, "alice", 1, 5, "bob", 2, [], None, None, "more", 7])
    assert decode_datagram(grown, key=KEY) == envelope(Ping())
    grown = sealed([2, 42, "alice", 1, 5, "bob", 2, [], 9, 250, None, "more", 7])
    assert decode_datagram(grown, key=KEY) == envelope(Ack(checksum=9, lag=0.25))


def test_a_reader_of_the_first_release_takes_the_array_of_today_for_its_own() -> None:
    # What was added stands at the end: the first eight items and what the kind had then are where they were.
    for message, length in ((Ping(checksum=5), 8), (Ack(checksum=5, lag=1.0), 8), (State(more=True, digest=()), 9)):
        today, then = (
            decode(encode_datagram(envelope(each), key=KEY)[1:-TAG_SIZE])
            for each in (message, State(more=True) if isinstance(message, State) else type(message)())
        )
        assert isinstance(today, list)
        assert today[:length] == then


def test_a_lag_beyond_a_minute_is_told_as_a_minute() -> None:
    assert decode_datagram(encode_datagram(envelope(Ack(checksum=1, lag=1e6)), key=KEY), key=KEY).message == Ack(
        checksum=1, lag=59.999
    )


def test_a_message_of_a_later_version_is_unknown_and_keeps_its_rumours() -> None:
    later = sealed([99, 42, "alice", 1, 5, "bob", 2, [SUSPECT.to_wire()], {"what": "ever"}])
    assert decode_datagram(later, key=KEY) == envelope(Unknown(kind=99), SUSPECT)


def test_a_frame_header_is_refused_before_its_body_is_read() -> None:
    with pytest.raises(BytesRefused, match="oversized"):
        frame_length(b"\xe1" + (MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(BytesRefused, match="version"):
        frame_length(b"\xe3\0\0\0\0")
    with pytest.raises(BytesRefused, match="truncated"):
        frame_length(b"\xe1\0\0")


def test_a_frame_that_is_not_as_long_as_it_says_is_refused() -> None:
    frame = encode_frame(envelope(Ping()), key=KEY)
    for wrong in (frame[:-1], frame + b"x"):
        with pytest.raises(BytesRefused, match="truncated"):
            decode_frame(wrong, key=KEY)


def test_the_room_for_rumours_is_what_a_datagram_has_left() -> None:
    for count in (1, 5, 30):
        empty = envelope(Gossip())
        full = envelope(Gossip(), *[SUSPECT] * count)
        rumours = count * len(encode(SUSPECT.to_wire()))
        assert len(encode_datagram(full, key=KEY)) <= 1400 - room_for_rumours(empty, budget=1400) + rumours


def test_clusters_have_different_keys() -> None:
    assert tag_key("demo").hex() == "7aacc862bbd72c3beb97ae6272162e1f"
    assert tag_key("demo") != tag_key("demo2")
