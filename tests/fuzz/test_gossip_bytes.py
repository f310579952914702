"""Whatever arrives on the gossip ports: only `BytesRefused` leaves the decoders."""

from __future__ import annotations

import contextlib

import siphash24
from hypothesis import given
from hypothesis import strategies as st

from swimring.codec import decode, encode
from swimring.errors import RemoteProtocolError
from swimring.swim import (
    FRAME_HEADER_SIZE,
    MAGIC,
    BytesRefused,
    Envelope,
    Member,
    Metadata,
    Rumour,
    decode_datagram,
    decode_frame,
    encode_datagram,
    encode_frame,
    frame_length,
    tag_key,
)

KEY = tag_key("fuzz")
LOOKALIKES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda children: st.lists(children, max_size=9) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=30,
)
RECORDS = st.tuples(
    st.sampled_from(["bob", "", "no spaces"]), st.sampled_from(["10.0.0.1", ""]), st.integers(-1, 70_000),
    st.integers(-1, 1 << 64), st.integers(-1, 1 << 64), st.integers(-1, 5),
    st.tuples(st.lists(st.text(max_size=3), max_size=2), st.integers(-1, 70_000), st.text(max_size=600),
              st.text(max_size=3), st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)).map(list),
    st.sampled_from(["carol", "", 5]),
).map(list)  # fmt: skip
BROADCASTS = st.lists(
    st.tuples(
        st.integers(-1, 1 << 63), st.sampled_from(["bob", "", 5]), st.integers(-1, 1 << 63), st.text(max_size=3),
        st.binary(max_size=1500) | st.none(),
    ).map(list), max_size=3,
)  # fmt: skip
ENVELOPES = st.tuples(
    st.integers(-1, 12), st.integers(-1, 1 << 64), st.sampled_from(["alice", ""]), st.integers(-1, 5),
    st.integers(-1, 5), st.sampled_from(["bob", "", None]), st.integers(-1, 5),
    st.lists(RECORDS | LOOKALIKES, max_size=3),
    LOOKALIKES | BROADCASTS, LOOKALIKES | BROADCASTS | st.binary(max_size=28), LOOKALIKES | BROADCASTS, LOOKALIKES,
).map(list)  # fmt: skip


def tagged(body: bytes) -> bytes:
    return body + bytes(siphash24.siphash24(body, key=KEY).digest())


def feed(data: bytes) -> None:
    with contextlib.suppress(BytesRefused):
        assert isinstance(decode_datagram(data, key=KEY), Envelope)
    with contextlib.suppress(BytesRefused):
        assert isinstance(decode_frame(data, key=KEY), Envelope)
    with contextlib.suppress(BytesRefused):
        assert frame_length(data[:FRAME_HEADER_SIZE]) >= 0


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    feed(data)
    feed(bytes([MAGIC]) + data)


@given(st.binary(max_size=300))
def test_any_bytes_under_the_right_tag(data: bytes) -> None:
    feed(tagged(bytes([MAGIC]) + data))
    feed(tagged(bytes([MAGIC]) + (len(data) + 8).to_bytes(4, "big") + data))


@given(LOOKALIKES | ENVELOPES)
def test_any_value_under_the_right_tag_and_what_is_understood_survives_another_trip(wire: object) -> None:
    body = encode(wire)
    feed(tagged(bytes([MAGIC]) + (len(body) + 8).to_bytes(4, "big") + body))
    try:
        understood = decode_datagram(tagged(bytes([MAGIC]) + body), key=KEY)
    except BytesRefused:
        return
    assert decode_datagram(encode_datagram(understood, key=KEY), key=KEY) == understood
    assert decode_frame(encode_frame(understood, key=KEY), key=KEY) == understood


@given(LOOKALIKES | RECORDS)
def test_any_value_as_a_record(wire: object) -> None:
    value = decode(encode(wire))
    for kind in (Member, Metadata, Rumour):
        with contextlib.suppress(RemoteProtocolError):
            assert isinstance(kind.from_wire(value), kind)
