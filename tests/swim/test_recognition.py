"""Rumours that were read before are recognised by their bytes, and only by those."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.codec import decode, encode
from swimring.errors import RemoteProtocolError
from swimring.identity import NodeId
from swimring.swim import (
    BytesRefused,
    Envelope,
    Gossip,
    Rumour,
    State,
    Status,
    Summary,
    decode_datagram,
    decode_frame,
    encode_datagram,
    encode_frame,
    tag_key,
)
from swimring.swim.recognition import _records, array_head, read_array
from swimring.swim.wire import _sealed
from tests.swim.records import member, rumour

KEY = tag_key("test")
ME = NodeId("alice", 1)


def envelope(*rumours: Rumour, sequence: int = 0) -> Envelope:
    return Envelope(source=ME, incarnation=1, sequence=sequence, message=Gossip(), rumours=rumours)


def through(sent: Envelope) -> Envelope:
    return decode_datagram(encode_datagram(sent, key=KEY), key=KEY)


def wire(*rumours: object, rest: tuple[object, ...] = ()) -> list[object]:
    return [5, 0, "alice", 1, 1, "", 0, list(rumours), *rest]


def test_what_was_read_before_is_one_and_the_same_object() -> None:
    first = through(envelope(rumour(Status.ALIVE, 7, name="seen"), rumour(Status.DEAD, 3, name="other")))
    second = through(envelope(rumour(Status.DEAD, 3, name="other"), rumour(Status.ALIVE, 7, name="seen"), sequence=9))
    assert first.rumours[0] is second.rumours[1]
    assert first.rumours[1] is second.rumours[0]


def digest(*summaries: Summary) -> tuple[Summary, ...]:
    """What is read of a state that tells of ``summaries``."""
    sent = Envelope(source=ME, incarnation=1, message=State(more=False, digest=summaries, checksum=7))
    read = decode_frame(encode_frame(sent, key=KEY), key=KEY)
    assert read == sent
    assert isinstance(read.message, State)
    return read.message.digest or ()


def test_a_line_of_a_digest_that_was_read_before_or_that_we_would_write_is_one_and_the_same_object() -> None:
    lines = [Summary.of(member(name, Status.DEAD, 3)) for name in ("seen", "other")]
    first, second = digest(*lines), digest(*reversed(lines))
    assert first[0] is second[1] is lines[0]
    assert first[1] is second[0] is lines[1]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40), st.sampled_from(Status)), max_size=60))
def test_what_is_read_of_a_digest_is_what_was_said(said: list[tuple[int, int, Status]]) -> None:
    digest(*(Summary.of(member(f"n{name}", status, number)) for name, number, status in said))


def test_a_line_of_a_digest_that_begins_as_a_known_one_and_is_longer_is_another_one() -> None:
    line = Summary.of(member("long", Status.ALIVE, 3))
    digest(line)
    later = [*line.to_wire(), "more"]
    read = read_array(encode([8, 0, "alice", 1, 1, "", 0, [], False, [later, line.to_wire()], None]))
    assert read[9] == [line, line]


def test_accusers_make_different_rumours_about_one_record() -> None:
    read = through(envelope(*(rumour(Status.SUSPECT, 7, name="bob", accuser=accuser) for accuser in ("carol", "dave"))))
    assert [each.accuser for each in read.rumours] == ["carol", "dave"]
    assert read.rumours[0].member is read.rumours[1].member


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40), st.sampled_from(Status)), max_size=60))
def test_what_is_read_is_what_was_said(said: list[tuple[int, int, Status]]) -> None:
    rumours = tuple(rumour(status, number, name=f"n{name}") for name, number, status in said)
    assert through(envelope(*rumours)).rumours == rumours
    frame = Envelope(source=ME, incarnation=1, message=State(more=False), rumours=rumours)
    assert decode_frame(encode_frame(frame, key=KEY), key=KEY) == frame


def test_a_rumour_that_begins_as_a_known_one_and_is_longer_is_another_one() -> None:
    known = rumour(Status.SUSPECT, 7, name="bob").member
    through(envelope(Rumour(member=known)))
    longer = through(envelope(Rumour(member=known, accuser="carol")))
    assert longer.rumours[0].accuser == "carol"
    later = wire([*known.to_wire(), "carol", "what a later version adds"])
    assert read_array(encode(later))[7] == [Rumour(member=known, accuser="carol")]


def test_numbers_that_are_equal_and_no_integers_are_refused_though_their_rumour_is_known() -> None:
    record = member("bob", Status.ALIVE, 1)
    through(envelope(Rumour(member=record)))
    for place, wrong in ((3, True), (3, 1.0), (4, True), (5, False)):
        claimed = record.to_wire()
        claimed[place] = wrong
        with pytest.raises(RemoteProtocolError):
            read_array(encode(wire(claimed)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x88",
        encode([]),
        encode(wire()[:7]),
        encode(wire(["x"])),
        encode(wire()) + b"\x00",
        encode(wire(rumour(Status.ALIVE, 1).to_wire()))[:-3],
        encode([*wire()[:7], "no list"]),
        encode([*wire()[:7], {}]),
        encode([5, 0, ["alice"], 1, 1, "", 0, []]),
        encode([*wire()[:7], [rumour(Status.ALIVE, 1).to_wire()] * 4097]),
        b"\x88\x05\x00\x7f" + encode(wire())[3:],
    ],
    ids=lambda body: body[:12].hex() or "empty",
)
def test_what_makes_no_sense_is_refused_as_ever(body: bytes) -> None:
    with pytest.raises(BytesRefused):
        decode_datagram(_sealed(b"\xe1" + body, KEY)[:4096], key=KEY)


@given(st.integers(0, 70_000).filter(lambda count: count < 65_536))
def test_the_head_of_an_array_is_that_of_cbor(count: int) -> None:
    head = array_head(count)
    assert encode([0] * count)[: len(head)] == head


def test_the_bytes_that_things_bring_along_are_those_of_their_wire_form() -> None:
    record = member("bob", Status.SUSPECT, 7)
    for each in (record, Rumour(member=record), Rumour(member=record, accuser="carol"), Summary.of(record)):
        assert each.encoded == each.encoded == encode(each.to_wire())
        assert decode(each.encoded) == each.to_wire()


def test_what_is_appended_to_a_rumour_does_not_fill_the_memory() -> None:
    record = member("padded", Status.ALIVE, 1)
    for padding in (500, 2000, 60_000):
        padded = [*record.to_wire(), "carol", "x" * padding]
        assert read_array(encode(wire(padded)))[7] == [Rumour(member=record, accuser="carol")]
    assert _records.find(record.encoded, 1) == (Rumour(member=record), len(record.encoded))
