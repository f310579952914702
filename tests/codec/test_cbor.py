from __future__ import annotations

import enum
import math
import subprocess
import sys
import tracemalloc
import types
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING
from uuid import UUID

import cbor2
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from swimring.codec import MAX_DEPTH, decode, encode
from swimring.errors import LocalProtocolError, RemoteProtocolError
from tests.names import named

if TYPE_CHECKING:
    from collections.abc import Iterator

Point = namedtuple("Point", "x y")


class Colour(enum.StrEnum):
    RED = "red"


class Plain(enum.Enum):
    ONE = 1


aware = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30))]))
decimals = st.decimals(allow_nan=False, allow_infinity=False)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | aware
    | decimals
    | st.uuids()
)
values = st.recursive(
    scalars | st.sets(st.text() | st.binary()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text() | st.binary(), inner, max_size=5),
    max_leaves=20,
)


def nested(value: object, levels: int) -> object:
    for _ in range(levels):
        value = [value]
    return value


def enumerate_edges() -> Iterator[tuple[str, object]]:
    """Fields whose heads are of every length, each beside the next one."""
    for number, edge in enumerate((24, 1 << 8, 1 << 16, 1 << 32, 1 << 64)):
        yield f"+{number}", edge - 1
        yield f"+{number}'", edge
        yield f"-{number}", -edge
        yield f"-{number}'", -edge - 1


@given(values)
def test_what_goes_in_comes_out(value: object) -> None:
    assert decode(encode(value)) == value


@given(values, st.integers(0, MAX_DEPTH + 2))
def test_whatever_is_encoded_can_be_decoded_however_deep(value: object, levels: int) -> None:
    try:
        data = encode(nested(value, levels))
    except LocalProtocolError:
        return
    assert decode(data) == nested(value, levels)


small = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.binary(max_size=300))


@given(st.dictionaries(st.text(max_size=70), small, max_size=30))
@example({"\N{GRINNING FACE}" * 64: 1})
@example(dict.fromkeys(map(str, range(24))))
@example(dict(enumerate_edges()))
def test_a_flat_map_has_the_bytes_that_cbor2_writes(fields: dict[str, object]) -> None:
    assume(all(type(item) is not int or item.bit_length() <= 4096 for item in fields.values()))
    assert encode(fields) == cbor2.dumps(fields)


@given(values, st.data())
def test_a_truncated_value_is_refused(value: object, data: st.DataObject) -> None:
    whole = encode(value)
    with pytest.raises(RemoteProtocolError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(values, st.binary(min_size=1))
def test_trailing_bytes_are_refused(value: object, rest: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="trailing"):
        decode(encode(value) + rest)


@pytest.mark.parametrize(
    ("value", "arrives_as"),
    [
        (Point(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (bytearray(b"ab"), b"ab"),
        (Colour.RED, "red"),
        (frozenset({"a"}), {"a"}),
        ((1, (2,)), [1, [2]]),
        (2**70, 2**70),
        (-(2**70), -(2**70)),
        (2**64 - 1, 2**64 - 1),
        (-(2**64), -(2**64)),
        (2**4096 - 1, 2**4096 - 1),
        (math.inf, math.inf),
    ],
)
def test_relatives_of_the_plain_types_arrive_as_the_plain_type(value: object, arrives_as: object) -> None:
    arrived = decode(encode({"v": value}))["v"]
    assert arrived == arrives_as
    assert type(arrived) is type(arrives_as)


def test_nan_passes() -> None:
    assert math.isnan(decode(encode(math.nan)))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (memoryview(b"ab"), "send bytes"),
        ({1: "a"}, "map keys are str or bytes, not int"),
        ({True: "a"}, "map keys are str or bytes, not bool"),
        ({None: "a"}, "map keys"),
        ({("a",): "a"}, "map keys"),
        ({1, 2}, "send a list"),
        (2**4096, "4097 bits"),
        (-(2**5000), "5001 bits"),
        (Decimal("NaN"), "finite"),
        (Decimal("-Infinity"), "finite"),
        (Decimal("1E+6145"), "exponent"),
        (Decimal("1E-6145"), "exponent"),
        (Decimal("1" * 1234), "1233 digits"),
        (datetime(2020, 1, 1), "time zone"),
        (datetime(2020, 1, 1, tzinfo=timezone(timedelta(seconds=30))), "whole minutes"),
        (date(2020, 1, 1), "date has no place"),
        (Fraction(1, 2), "Fraction has no place"),
        (1j, "complex has no place"),
        (range(3), "range has no place"),
        (object(), "object has no place"),
        (Plain.ONE, "Plain has no place"),
        (cbor2.undefined, "no place"),
        (cbor2.CBORSimpleValue(99), "no place"),
        (cbor2.CBORTag(99, 1), "no place"),
        ("\ud800", "surrogates"),
    ],
    ids=named,
)
def test_what_the_other_side_would_refuse_is_not_sent(value: object, why: str) -> None:
    for nesting in (value, [value], {"a": (value,)}):
        with pytest.raises(LocalProtocolError, match=why):
            encode(nesting)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_a_nesting_that_is_too_deep_is_refused_on_both_sides(depth: int) -> None:
    with pytest.raises(LocalProtocolError, match="32 levels"):
        encode(nested(1, depth))
    for head in (b"\x81", b"\xa1\x61a", b"\xc1", b"\xd9\x01\x02\x81"):
        with pytest.raises(RemoteProtocolError):
            decode(head * depth + b"\x01")


def test_32_levels_are_fine() -> None:
    assert decode(encode(nested(1, MAX_DEPTH))) == nested(1, MAX_DEPTH)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(LocalProtocolError, match="32 levels"):
        encode(loop)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xf7", id="undefined"),
        pytest.param(b"\xf8\x63", id="simple value 99"),
        pytest.param(b"\xe0", id="simple value 0"),
        pytest.param(b"\x82\x01\xf7", id="undefined in an array"),
        pytest.param(b"\xa1\x61a\x81\xf7", id="undefined in a map"),
        pytest.param(b"\x81\x81\xf8\xff", id="simple value 255, deep"),
        pytest.param(b"\xc1\xf7", id="undefined as a date"),
        pytest.param(b"\xa1\x01\x02", id="integer key"),
        pytest.param(b"\xa1\xf5\x02", id="boolean key"),
        pytest.param(b"\xa1\xf6\x02", id="null key"),
        pytest.param(b"\xa1\xf7\x02", id="undefined key"),
        pytest.param(b"\xa1\x80\x02", id="array key"),
        pytest.param(b"\xa1\xc2\x41\x01\x02", id="big integer key"),
        pytest.param(b"\xa2\x61a\x01\x61a\x02", id="duplicate key"),
        pytest.param(b"\xd9\x01\x02\x81\x01", id="set of integers"),
        pytest.param(b"\xd9\x01\x02\x81\x80", id="set of arrays"),
        pytest.param(b"\x9f\x01\xff", id="indefinite array"),
        pytest.param(b"\xbf\xff", id="indefinite map"),
        pytest.param(b"\x7f\x61a\xff", id="indefinite text"),
        pytest.param(b"\xff", id="break"),
        pytest.param(b"\x1c", id="reserved length"),
        pytest.param(b"\x61\xff", id="not UTF-8"),
        pytest.param(b"\xc2\x59\x02\x01" + b"\xff" * 513, id="big integer of 4104 bits"),
        pytest.param(b"\xc3\x59\x02\x01" + b"\xff" * 513, id="negative big integer of 4104 bits"),
        pytest.param(b"\xc2\x01", id="big integer in an integer"),
        pytest.param(b"\xc4\x82\x19\x18\x01\x01", id="decimal exponent 6145"),
        pytest.param(b"\xc4\x82\x39\x18\x00\x01", id="decimal exponent -6145"),
        pytest.param(b"\xc4\x82\x1b" + b"\x7f" * 8 + b"\x01", id="huge decimal exponent"),
        pytest.param(b"\xc4\x82\xc2\x41\x01\xf5", id="decimal of a boolean"),
        pytest.param(b"\xc4\x83\x01\x01\x01", id="decimal of three"),
        pytest.param(b"\xc0\x6a2020-01-01", id="date without time"),
        pytest.param(b"\xc0\x732020-01-01T00:00:00", id="naive time"),
        pytest.param(b"\xc1\x1b" + b"\x7f" * 8, id="epoch far away"),
        pytest.param(b"\xc1\xf9\x7e\x00", id="epoch NaN"),
        pytest.param(b"\xd8\x25\x41a", id="short UUID"),
        pytest.param(b"\xd8\x1c\x80", id="shareable"),
        pytest.param(b"\xd8\x1d\x00", id="shared reference"),
        pytest.param(b"\xd8\x23\x61a", id="regular expression"),
        pytest.param(b"\xd9\x03\xec\x6a2020-01-01", id="full date"),
    ],
)
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(data)


def test_only_the_listed_tags_are_read() -> None:
    accepted = set()
    for tag in range(0x10000):
        head = b"\xd9" + tag.to_bytes(2, "big")
        for payload in (
            b"\x60",
            b"\x41\x01",
            b"\x01",
            b"\x82\x01\x02",
            b"\x80",
            b"\x50" + bytes(16),
            b"\x742013-03-21T20:04:00Z",
        ):
            try:
                decode(head + payload)
            except RemoteProtocolError:
                continue
            accepted.add(tag)
    assert accepted == {0, 1, 2, 3, 4, 37, 258}


@pytest.mark.parametrize("text", ["日本語 tekst", "\u00f7\u00f8", "é"])
def test_text_that_contains_the_bytes_of_unassigned_values_passes(text: str) -> None:
    value = {"text": text, "bytes": bytes(range(256)), "number": 0xF7F7}
    assert decode(encode(value)) == value


def test_decimals_keep_their_digits_whatever_the_context() -> None:
    value = Decimal("3." + "1415926535" * 10)
    assert decode(encode(value)) == value
    assert decode(encode(UUID(int=5))) == UUID(int=5)


@pytest.mark.parametrize("major", [0x40, 0x60, 0x80, 0xA0], ids=["bytes", "text", "array", "map"])
@pytest.mark.parametrize("length", [2**32, 2**63 - 1, 2**64 - 1])
def test_the_length_a_stranger_claims_allocates_nothing(major: int, length: int) -> None:
    data = bytes([major | 27]) + length.to_bytes(8, "big")
    decode(b"\x01")
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            decode(data)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 256 * 1024


HOSTILE_LENGTHS = """
import resource
from swimring.codec import decode
from swimring.errors import RemoteProtocolError
decode(b"\\x01")
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 64 * 2**20,) * 2)
for major in (0x40, 0x60, 0x80, 0xA0):
    for length in (2**27, 2**31, 2**40):
        for nesting in (b"", b"\\x81" * 20):
            try:
                decode(nesting + bytes([major | 27]) + length.to_bytes(8, "big") + b"\\x01")
            except RemoteProtocolError:
                print("refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited and measured the Linux way")
def test_hostile_lengths_fit_into_64_mebibytes_of_address_space() -> None:
    run = subprocess.run([sys.executable, "-c", HOSTILE_LENGTHS], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["refused"] * 24
