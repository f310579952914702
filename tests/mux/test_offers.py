"""Streams that a callee hands over with its answer."""

from __future__ import annotations

import pytest

from swimring.codec import encode
from swimring.errors import LocalProtocolError, RemoteProtocolError
from swimring.mux import (
    CallEnded,
    CallKind,
    DataArrived,
    EndArrived,
    GoAwayCode,
    Limits,
    ReplyArrived,
    ResetArrived,
    ResetCode,
    StreamsOffered,
    StreamState,
)

from .link import ASK, Link, raw


def offered(*names: str) -> tuple[Link, int, range]:
    """A call that was made here, and streams that were offered for it there."""
    link = Link()
    call_id = link.ask()
    link.pump()
    return link, call_id, link.there.offer(call_id, names or ("file",))


def test_an_offer_is_one_frame_before_the_answer() -> None:
    link, call_id, ids = offered("file", "log")
    assert (call_id, list(ids)) == (1, [2, 4])
    link.there.reply(call_id, encode("v"))
    wire = link.there.bytes_to_send()
    assert wire == raw(0x16, 1, bytes.fromhex("82 02 82 64") + b"file" + b"\x63log") + raw(0x11, 1, b"\x61v", flags=1)
    assert link.here.receive(wire) == [
        StreamsOffered(call_id=1, streams={"file": 2, "log": 4}),
        ReplyArrived(call_id=1, body=b"\x61v"),
    ]


def test_offered_streams_outlive_the_call_and_end_as_all_others() -> None:
    link, call_id, (stream,) = offered()
    link.there.reply(call_id, encode(None))
    link.pump()
    assert (link.here.open_calls, link.here.open_streams) == (0, 1)
    link.there.send(stream, b"abc")
    link.there.finish(stream)
    link.here.send(stream, b"back")
    at_here, at_there = link.pump()
    assert at_here == [DataArrived(stream_id=stream, data=b"abc"), EndArrived(stream_id=stream)]
    assert at_there == [DataArrived(stream_id=stream, data=b"back")]
    link.here.finish(stream)
    link.pump()
    assert link.idle


def test_data_never_overtakes_the_offer_even_of_a_long_answer() -> None:
    link, call_id, (stream,) = offered()
    link.there.reply(call_id, encode(b"x" * 300_000))
    link.there.send(stream, b"abc")
    assert [type(event) for event in link.pump()[0]] == [StreamsOffered, DataArrived, ReplyArrived]


def test_new_calls_of_the_callee_get_the_ids_behind_its_offers() -> None:
    link, _call_id, ids = offered("a", "b", "c")
    assert list(ids) == [2, 4, 6]
    asked = link.there.request(ASK, b"\xa0")
    assert asked == 8
    link.pump()
    link.here.reply(asked, b"\xf6")
    link.pump()
    assert link.here.open_calls == link.there.open_calls == 1


def test_a_cancelled_call_takes_no_streams() -> None:
    link, call_id, ids = offered("a", "b")
    link.here.cancel(call_id, range(0), "enough")
    at_here, at_there = link.pump()
    assert at_here == []
    resets = [event for event in at_there if isinstance(event, ResetArrived)]
    assert [(one.stream_id, one.code) for one in resets] == [(ident, ResetCode.CANCELLED) for ident in ids]
    link.there.done(call_id)
    assert link.pump()[0] == [CallEnded(call_id=call_id)]
    assert link.idle


def test_a_call_that_was_cancelled_can_be_offered_nothing() -> None:
    link = Link()
    call_id = link.ask()
    link.pump()
    link.here.cancel(call_id, range(0), "enough")
    link.pump()
    with pytest.raises(LocalProtocolError, match="takes no streams"):
        link.there.offer(call_id, ["file"])


def test_streams_are_offered_once_and_before_the_answer_and_not_to_a_cast() -> None:
    link, call_id, _ids = offered()
    cast = link.ask(kind=CallKind.CAST)
    link.pump()
    for wrong in (call_id, cast, 99):
        with pytest.raises(LocalProtocolError, match="takes no streams"):
            link.there.offer(wrong, ["more"])
    link.there.reply(call_id, b"\xf6")
    with pytest.raises(LocalProtocolError, match="takes no streams"):
        link.there.offer(call_id, ["more"])


@pytest.mark.parametrize(
    "names", [[], list(map(str, range(1_025))), ["x", "x"], [""], ["x" * 65], [f"{n:064}" for n in range(188)]]
)
def test_names_are_those_of_any_streams(names: list[str]) -> None:
    link = Link()
    call_id = link.ask()
    link.pump()
    with pytest.raises(LocalProtocolError, match="stream"):
        link.there.offer(call_id, names)
    with pytest.raises(RemoteProtocolError, match="stream"):
        link.here.receive(raw(0x16, call_id, encode([2, names])))


def test_offered_streams_count_among_those_the_callee_has_open() -> None:
    link = Link(Limits(streams=2))
    call_id = link.ask()
    link.pump()
    assert link.there.can_offer(2)
    assert not link.there.can_offer(3)
    with pytest.raises(LocalProtocolError, match="at most 2 open streams"):
        link.there.offer(call_id, ["a", "b", "c"])
    with pytest.raises(RemoteProtocolError, match="more than 2 open streams"):
        link.here.receive(raw(0x16, call_id, encode([2, ["a", "b", "c"]])))


@pytest.mark.parametrize(
    "body",
    [
        encode([3, ["x"]]),  # an id of ours
        encode([0, ["x"]]),
        encode([-2, ["x"]]),
        encode([2**56 - 2, ["x", "y"]]),
        encode([True, ["x"]]),
        encode([2]),
        encode(["2", ["x"]]),
        encode([2, [5]]),
        b"\xff",
    ],
)
def test_an_offer_that_makes_no_sense_ends_the_connection(body: bytes) -> None:
    link = Link()
    call_id = link.ask()
    link.pump()
    with pytest.raises(RemoteProtocolError):
        link.here.receive(raw(0x16, call_id, body))


def test_ids_that_were_used_cannot_be_offered() -> None:
    link = Link()
    asked = link.there.request(ASK, b"\xa0")
    call_id = link.ask()
    link.pump()
    with pytest.raises(RemoteProtocolError, match="an offer of the id 2 after 2"):
        link.here.receive(raw(0x16, call_id, encode([asked, ["x"]])))


def test_who_takes_no_more_calls_still_takes_what_its_own_calls_bring() -> None:
    link, call_id, (stream,) = offered()
    link.here.go_away(GoAwayCode.DRAINING, "leaving")
    link.there.reply(call_id, b"\xf6")
    link.there.send(stream, b"abc")
    link.there.finish(stream)
    at_here, _ = link.pump()
    assert DataArrived(stream_id=stream, data=b"abc") in at_here
    link.here.finish(stream)
    link.pump()
    assert link.here.stream_state(stream) is StreamState.CLOSED
    assert link.idle


def test_nothing_is_offered_to_a_side_that_does_not_know_offers() -> None:
    link = Link()
    call_id = link.ask()
    link.pump()
    assert link.there.peer is not None
    object.__setattr__(link.there.peer, "features", ())
    assert not link.there.peer_takes_offers
    with pytest.raises(LocalProtocolError, match="does not take streams with an answer"):
        link.there.offer(call_id, ["x"])
