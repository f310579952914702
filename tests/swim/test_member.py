"""Records and their form on the wire."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from swimring.codec import decode, encode
from swimring.errors import ConfigError, RemoteProtocolError
from swimring.swim import METADATA_LIMIT, Member, Metadata, Rumour, Status, Summary
from swimring.swim.member import DETAILS_DIGEST_SIZE
from tests.swim.records import member, rumour

FULL = Metadata(services=("kv", "cache"), weight=3, zone="eu-1", version="1.2", tags={"b": "2", "a": "1"})


def test_a_record_survives_the_wire() -> None:
    record = member("bob", Status.SUSPECT, 7, generation=1 << 40, metadata=FULL)
    assert Member.from_wire(decode(encode(record.to_wire()))) == record


def test_a_rumour_survives_the_wire_with_its_accuser() -> None:
    for each in (rumour(Status.SUSPECT, accuser="carol"), rumour(Status.DEAD)):
        assert Rumour.from_wire(decode(encode(each.to_wire()))) == each


def test_items_of_a_later_version_are_ignored() -> None:
    wire = [*rumour(Status.SUSPECT).to_wire(), "more", 42]
    assert Rumour.from_wire(wire) == rumour(Status.SUSPECT)


@pytest.mark.parametrize("details", [b"", bytes(DETAILS_DIGEST_SIZE)])
def test_metadata_of_a_later_version_is_passed_on_as_it_came(details: bytes) -> None:
    ours = dataclasses.replace(FULL, details=details)
    later = [*FULL.to_wire()[:5], details or None, [1, 2], None, {"more": 42}]
    read = Metadata.from_wire(decode(encode(later)))
    assert dataclasses.replace(read, further=b"") == ours
    assert encode(read.to_wire()) == encode(later)
    assert len({read, ours, Metadata.from_wire(later)}) == 2
    told, ignorant = (Summary.of(member(metadata=each)) for each in (read, ours))
    assert told.contents != ignorant.contents


def test_metadata_of_a_later_version_has_at_most_512_bytes_too() -> None:
    with pytest.raises(RemoteProtocolError, match="at most 512"):
        Metadata.from_wire([*FULL.to_wire()[:5], None, "x" * 512])


def test_metadata_is_equal_and_hashed_by_value_whatever_the_order() -> None:
    same = Metadata(services=("cache", "kv", "kv"), weight=3, zone="eu-1", version="1.2", tags={"a": "1", "b": "2"})
    assert same == FULL
    assert hash(same) == hash(FULL)
    assert same.services == ("cache", "kv")


def test_metadata_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FULL.tags["a"] = "2"  # type: ignore[index]  # this is the rule under test


def test_metadata_has_at_most_512_bytes() -> None:
    largest = METADATA_LIMIT - len(encode(Metadata(tags={"a": "x" * 256}).to_wire())) + 256
    Metadata(tags={"a": "x" * largest})
    with pytest.raises(ConfigError, match="513 bytes"):
        Metadata(tags={"a": "x" * (largest + 1)})


@pytest.mark.parametrize(
    "wrong",
    [{"weight": -1}, {"weight": 1.5}, {"weight": True}, {"services": ("no spaces",)}, {"zone": 3}, {"tags": {"a": 1}}],
)
def test_metadata_of_the_wrong_kind_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Metadata(**wrong)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, ""), (0, "no spaces"), (0, 7), (0, "x" * 300), (1, ""), (1, "h" * 256), (1, None), (1, "two words"),
        (1, "a\nforged line of a log"), (1, "127.0.0.1\0"), (1, "\x1b[31mred"), (2, -1), (2, 65536),
        (2, "1"),
        (3, -1), (3, 1 << 62), (3, True), (4, 1.0), (5, 4), (5, "alive"), (6, None), (6, []), (6, [[], 1, "", "", []]),
        (6, [[1], 1, "", "", {}]), (6, [[], 1, "z" * 600, "", {}]), (7, 5), (7, "no spaces"),
    ],
)  # fmt: skip
def test_a_rumour_that_makes_no_sense_is_refused(place: int, value: object) -> None:
    wire = rumour(Status.SUSPECT).to_wire()
    wire[place] = value
    with pytest.raises(RemoteProtocolError):
        Rumour.from_wire(wire)


def test_a_status_is_active_until_death_or_farewell() -> None:
    assert [status.active for status in Status] == [True, True, False, False]
    assert [status.word for status in Status] == ["alive", "suspect", "dead", "left"]
