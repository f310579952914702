"""Only RemoteProtocolError escapes the decoder, and what it returns can be sent on."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.codec import decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError

# Well-formed heads make random bytes reach deeper than the first item.
HEADS = [
    b"\x82",
    b"\xa1\x61a",
    b"\xc0",
    b"\xc1",
    b"\xc2",
    b"\xc3",
    b"\xc4\x82",
    b"\xd8\x25\x50",
    b"\xd9\x01\x02\x81",
    b"\xf9",
    b"\x5f",
    b"\x7b",
    b"\x9b",
    b"\xdb",
]


def feed(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        value = decode(data)
        with suppress(LocalProtocolError):  # a mantissa is bounded in bits on one side, in digits on the other
            again = decode(encode(value))
            assert again == value or "nan" in repr(value).lower()


@given(st.binary())
def test_random_bytes(data: bytes) -> None:
    feed(data)


@given(st.lists(st.sampled_from(HEADS) | st.binary(max_size=4)).map(b"".join))
def test_random_bytes_behind_well_formed_heads(data: bytes) -> None:
    feed(data)


@pytest.mark.parametrize("seed", range(20))
def test_a_good_value_with_damaged_bytes(seed: int) -> None:
    rng = random.Random(seed)
    good = encode(
        {"ns": "kv", "cmd": "put", "key": b"k", "list": [1, -1.5, None, True, 2**70], "set": {"a"}, "text": "é日"}
    )
    for _ in range(500):
        damaged = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        feed(bytes(damaged))
