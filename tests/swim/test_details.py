"""Larger metadata: its bytes, its bound, its hash in the record."""

from __future__ import annotations

import dataclasses

import pytest

from swimring.codec import encode
from swimring.errors import ConfigError, RemoteProtocolError
from swimring.swim import DETAILS_LIMIT, Details, Metadata, Summary
from tests.swim.records import member


def test_details_survive_the_wire_and_are_copies() -> None:
    details = Details.of({"shards": [1, 2], "limits": {"cpu": 4}})
    assert Details.from_wire(details.encoded) == details
    details.contents["shards"].append(3)
    assert details.contents == {"shards": [1, 2], "limits": {"cpu": 4}}


def test_no_details_are_no_bytes_and_no_hash() -> None:
    for nothing in (Details(), Details.of({}), Details.from_wire(b"")):
        assert (nothing.encoded, nothing.digest, nothing.contents) == (b"", b"", {})


def test_the_hash_is_eight_bytes_of_blake2b() -> None:
    assert Details.of({"a": 1}).digest.hex() == "9f2f7d2c5d990656"


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({"x": "y" * DETAILS_LIMIT}, "at most 65536 bytes"),
        ({"x": object()}, "place on the wire"),
        ({5: "x"}, "keys are text"),
        ([("x", 1)], "keys are text"),
    ],
)
def test_what_cannot_be_told_is_refused_when_it_is_set(details: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Details.of(details)


@pytest.mark.parametrize("wire", [None, {}, "x", b"x" * (DETAILS_LIMIT + 1), b"\xff", encode([1])])
def test_an_answer_that_makes_no_sense_is_refused(wire: object) -> None:
    with pytest.raises(RemoteProtocolError):
        Details.from_wire(wire)


def test_metadata_without_details_has_the_bytes_it_had_and_with_them_one_item_more() -> None:
    plain = Metadata(services=("kv",), tags={"a": "b"})
    detailed = dataclasses.replace(plain, details=b"12345678")
    assert plain.to_wire() == [["kv"], 1, "", "", {"a": "b"}]
    assert detailed.to_wire() == [["kv"], 1, "", "", {"a": "b"}, b"12345678"]
    for each in (plain, detailed):
        assert Metadata.from_wire(each.to_wire()) == each
        later = Metadata.from_wire([*each.to_wire()[:6], *[None] * (6 - len(each.to_wire())), "later"])
        assert dataclasses.replace(later, further=b"") == each


@pytest.mark.parametrize("details", [b"1234567", "12345678", 5, []])
def test_a_hash_of_another_form_is_refused(details: object) -> None:
    with pytest.raises(RemoteProtocolError):
        Metadata.from_wire([[], 1, "", "", {}, details])


def test_other_details_are_other_contents_of_the_record() -> None:
    one, other = (member(metadata=Metadata(details=digest)) for digest in (b"12345678", b"12345679"))
    assert one.metadata != other.metadata
    assert Summary.of(one).contents != Summary.of(other).contents
