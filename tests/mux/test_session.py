"""The session: golden bytes, hello and refusals, calls, streams, credit, goodbye, and what ends a connection."""

from __future__ import annotations

import pytest

from swimring.codec import decode, encode
from swimring.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from swimring.identity import NodeId
from swimring.mux import (
    ITEMS,
    CallArrived,
    CallEnded,
    CallHeader,
    CallKind,
    CancelArrived,
    CreditArrived,
    DataArrived,
    EndArrived,
    FailureArrived,
    GoAwayArrived,
    GoAwayCode,
    Hello,
    HelloRefused,
    Limits,
    PeerReady,
    Phase,
    PongArrived,
    RefusalArrived,
    RefusalCode,
    ReplyArrived,
    ResetArrived,
    Session,
    cluster_digest,
    encode_fields,
    pack_item,
)

from .link import ASK, BODY, Link, raw

TIGHT = Limits(message=16384, message_window=32768, stream_window=16384, connection_window=32768, streams=6)


def dialler() -> Session:
    return Session(me=NodeId("a", 7), cluster="test", limits=Limits(), dialled=True)


# ------------------------------------------------------------------------------------------------------ golden bytes

DIGEST = "2697d5f771465b9b8b4dc68fc1242655"  # BLAKE2b-128 of "test", personalised "swimring-mux"


def test_the_first_bytes_of_a_connection_are_as_specified() -> None:
    limits = "86 1a00010000 1a00100000 192710 1a00080000 1a01000000 1a00400000"
    body = bytes.fromhex(f"87 01 01 50{DIGEST} 61 61 07 {limits} 81 66") + b"offers"
    assert dialler().bytes_to_send() == b"\xf1" + raw(0x01, 0, body)


def test_a_small_call_is_one_frame_each_way() -> None:
    link = Link()
    call_id = link.here.request(CallHeader(ns="s", cmd="c", key="k", remaining=2.0), BODY)
    request = bytes.fromhex("04 00 00 000007d0 01 01 0001 0000") + b"sck" + BODY
    assert link.here.bytes_to_send() == raw(0x10, call_id, request, flags=1)
    link.there.receive(raw(0x10, call_id, request, flags=1))
    link.there.reply(call_id, encode("v"))
    assert link.there.bytes_to_send() == raw(0x11, call_id, b"\x61v", flags=1)


def test_one_bit_asks_to_hand_a_call_on() -> None:
    link = Link()
    call_id = link.here.request(CallHeader(ns="s", cmd="c", key="k", forward=True), BODY)
    request = bytes.fromhex("14 00 00 ffffffff 01 01 0001 0000") + b"sck" + BODY
    assert link.here.bytes_to_send() == raw(0x10, call_id, request, flags=1)


def test_items_are_a_stream_with_a_reserved_name_behind_the_request() -> None:
    link = Link()
    call_id = link.here.request(CallHeader(ns="s", cmd="c", streams=(ITEMS,)), BODY)
    extension = bytes.fromhex("83 81 66 406974656d73 f6 00")
    request = bytes.fromhex("00 00 00 ffffffff 01 01 0000 000b") + b"sc" + extension + BODY
    assert link.here.bytes_to_send() == raw(0x10, call_id, request, flags=1)
    link.there.receive(raw(0x10, call_id, request, flags=1))
    link.there.send(call_id + 2, pack_item("v", limit=99))
    link.there.finish(call_id + 2)
    link.there.reply(call_id, encode(None))
    assert link.there.bytes_to_send() == (
        raw(0x11, call_id, b"\xf6", flags=1)
        + raw(0x18, call_id + 2, bytes.fromhex("00000002 6176"))
        + raw(0x18, call_id + 2, flags=1)
    )


def test_a_header_carries_everything_and_its_defaults_cost_nothing() -> None:
    link = Link()
    header = CallHeader(
        ns="s",
        cmd="c",
        key=b"\x00",
        kind=CallKind.CAST,
        remaining=1.5,
        idempotent=True,
        traceparent="00-x",
        hops=3,
        attempt=2,
        fence=9,
        forward=True,
    )
    link.here.request(header, BODY)
    (arrived,) = link.pump()[1]
    assert isinstance(arrived, CallArrived)
    assert arrived.header == header
    assert len(ASK.to_bytes()) == 13 + 2


# ------------------------------------------------------------------------------------------------------------- hello


def test_both_sides_learn_who_the_other_is() -> None:
    link = Link(connect=False)
    (at_here,), (at_there,) = link.pump()
    assert isinstance(at_here, PeerReady)
    assert isinstance(at_there, PeerReady)
    assert (at_here.hello.node, at_there.hello.node) == (NodeId("there", 1), NodeId("here", 1))
    assert link.here.version == link.there.version == 1


def test_the_side_that_was_dialled_says_nothing_to_a_stranger() -> None:
    session = Session(me=NodeId("a", 1), cluster="test", limits=Limits(), dialled=False)
    assert not session.has_bytes_to_send
    with pytest.raises(RemoteProtocolError, match="byte 0"):
        session.receive(b"GET / HTTP/1.1")
    assert not session.has_bytes_to_send


def test_another_cluster_is_refused_with_its_code() -> None:
    link = Link(there_cluster="other", connect=False)
    with pytest.raises(HelloRefused) as caught:
        link.there.receive(link.here.bytes_to_send())
    assert caught.value.code is RefusalCode.CLUSTER
    (refusal,) = link.here.receive(link.there.bytes_to_send())
    assert refusal == RefusalArrived(code=RefusalCode.CLUSTER, reason="here belongs to another cluster")
    assert link.here.phase is link.there.phase is Phase.CLOSED


def hello(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "min": 1,
        "max": 1,
        "cluster": cluster_digest("test"),
        "name": "b",
        "generation": 1,
        "limits": Limits().announced(),
        "features": [],
    }
    fields.update(changes)
    return b"\xf1" + raw(0x01, 0, encode(list(fields.values())))


def listener() -> Session:
    return Session(me=NodeId("a", 7), cluster="test", limits=Limits(), dialled=False)


def test_no_common_version_is_refused_with_its_code() -> None:
    with pytest.raises(HelloRefused) as caught:
        listener().receive(hello(min=2, max=3))
    assert caught.value.code is RefusalCode.VERSION


def test_a_newer_neighbour_that_still_speaks_our_version_is_welcome() -> None:
    session = listener()
    session.receive(hello(min=1, max=2, features=["something new"], more="unknown"))
    assert session.version == 1


def test_our_own_name_is_refused() -> None:
    with pytest.raises(HelloRefused) as caught:
        listener().receive(hello(name="a"))
    assert caught.value.code is RefusalCode.SELF


@pytest.mark.parametrize(
    "changes",
    [
        {"min": 0},
        {"min": 3, "max": 2},
        {"cluster": "text"},
        {"name": ""},
        {"name": "a b"},
        {"generation": -1},
        {"generation": 2**63},
        {"limits": [1]},
        {"limits": [1, 2, 3, 4, 5, 6]},
        {"limits": [True] * 6},
        {"limits": [2**40] * 6},
        {"features": [1]},
        {"features": ["x"] * 65},
    ],
)
def test_an_impossible_hello_ends_the_connection(changes: dict[str, object]) -> None:
    session = listener()
    with pytest.raises(RemoteProtocolError):
        session.receive(hello(**changes))
    assert session.phase is Phase.CLOSED


def test_a_frame_before_the_hello_ends_the_connection() -> None:
    with pytest.raises(RemoteProtocolError, match="while waiting for the hello"):
        listener().receive(b"\xf1" + raw(0x03, 0, bytes(8)))


def test_a_stranger_may_send_64_kib_at_most() -> None:
    with pytest.raises(RemoteProtocolError, match="at most"):
        listener().receive(b"\xf1" + raw(0x01, 0, bytes(65536))[:12])


def test_hello_survives_its_encoding() -> None:
    one = Hello(node=NodeId("n", 5), cluster=b"c" * 16, limits=TIGHT, features=("x",))
    assert Hello.from_bytes(one.to_bytes()) == Hello(
        node=NodeId("n", 5),
        cluster=b"c" * 16,
        limits=Limits(message=16384, message_window=32768, stream_window=16384, connection_window=32768, streams=6),
        features=("x",),
    )


# ------------------------------------------------------------------------------------------------------------- calls


def test_a_call_is_answered_and_forgotten_by_both_sides() -> None:
    link = Link()
    call_id = link.ask()
    assert link.pump()[1] == [CallArrived(call_id=call_id, header=ASK, body=BODY, streams={})]
    link.there.reply(call_id, b"\x01")
    assert link.pump()[0] == [ReplyArrived(call_id=call_id, body=b"\x01")]
    assert link.idle


def test_ids_are_odd_for_the_side_that_dialled_and_even_for_the_other() -> None:
    link = Link()
    assert [link.ask(streams=("x",)), link.ask()] == [1, 5]
    assert [link.there.request(ASK, BODY), link.there.request(ASK, BODY)] == [2, 4]


def test_the_same_bytes_mean_the_same_whole_or_one_by_one() -> None:
    stream = hello() + b"".join(
        [
            raw(0x10, 1, ASK.to_bytes() + BODY, flags=1),
            raw(0x10, 3, (ASK.to_bytes() + BODY)[:9]),
            raw(0x03, 0, b"12345678"),
            raw(0x13, 3, (ASK.to_bytes() + BODY)[9:], flags=1),
            raw(0x14, 1, encode(["enough"])),
            raw(0x78, 0, b"from the future", flags=0x80),
        ]
    )
    whole, single, trailing = listener(), listener(), listener()
    expected = whole.receive(stream)
    assert len(expected) == 4
    assert [event for byte in stream for event in single.receive(bytes([byte]))] == expected
    assert trailing.receive(stream + b"\x00\x00") == expected
    assert single.bytes_to_send() == whole.bytes_to_send() == trailing.bytes_to_send()
    whole.receive_eof()
    with pytest.raises(RemoteProtocolError, match="in a frame"):
        trailing.receive_eof()


def test_much_that_comes_at_once_behind_a_part_of_a_frame_means_the_same() -> None:
    chunk = bytes(range(256)) * 128
    stream = b"".join(
        [
            raw(0x10, 1, CallHeader(ns="s", cmd="c", streams=("file",)).to_bytes() + BODY, flags=1),
            raw(0x18, 3, chunk),
            raw(0x10, 5, ASK.to_bytes() + BODY, flags=1),
            raw(0x18, 3, chunk[::-1]),
            raw(0x18, 3, b"", flags=1),
        ]
    )
    whole = listener()
    expected = whole.receive(hello() + stream)
    for cut in (*range(1, 150), *range(len(stream) - len(chunk) - 150, len(stream), 997)):
        parted = listener()
        pieces = (hello(), stream[:cut], stream[cut:-5], stream[-5:])
        assert [event for piece in pieces for event in parted.receive(piece)] == expected, cut


def test_much_that_follows_the_frame_that_ends_a_connection_is_not_looked_at() -> None:
    refused = listener()
    refused.receive(hello())
    refused.receive(raw(0x02, 0, encode([1, "no"]))[:7])
    assert len(refused.receive(raw(0x02, 0, encode([1, "no"]))[7:] + bytes(40_000))) == 1
    assert refused.phase is Phase.CLOSED


def test_small_calls_slip_between_the_parts_of_a_large_message() -> None:
    link = Link()
    large = link.here.request(ASK, encode_fields({"blob": bytes(500_000)}))
    small = link.ask()
    first = link.there.receive(link.here.bytes_to_send(1))
    assert [event.call_id for event in first if isinstance(event, CallArrived)] == [small]
    rest = link.pump()[1]
    assert [event.call_id for event in rest if isinstance(event, CallArrived)] == [large]


def test_a_message_beyond_the_limit_is_refused_by_the_sender_and_by_the_receiver() -> None:
    link = Link(Limits(message=2**20), there_limits=Limits(message=20_000))
    with pytest.raises(LocalProtocolError, match="the peer takes 20000"):
        link.here.request(ASK, bytes(20_000))
    assert not link.here.has_bytes_to_send
    with pytest.raises(RemoteProtocolError, match="more than 20000 bytes"):
        link.there.receive(raw(0x10, 1, bytes(15_000)) + raw(0x13, 1, bytes(15_000)))


def test_a_cancelled_call_is_over_when_the_other_side_says_so() -> None:
    link = Link()
    call_id = link.ask(streams=("x",))
    link.pump()
    link.here.cancel(call_id, range(3, 4, 2), "enough")
    _, at_there = link.pump()
    assert at_there[0] == CancelArrived(call_id=call_id, reason="enough")
    assert isinstance(at_there[1], ResetArrived)
    assert link.here.open_calls == 1
    link.there.done(call_id)
    assert link.pump()[0] == [CallEnded(call_id=call_id)]
    assert link.idle


def test_an_answer_that_crosses_a_cancel_is_dropped() -> None:
    link = Link()
    call_id = link.ask()
    link.pump()
    link.there.reply(call_id, b"\x01")
    link.here.cancel(call_id, range(0), "enough")
    assert link.pump() == ([CallEnded(call_id=call_id)], [])
    assert link.idle


def test_a_cancel_in_the_same_bytes_as_its_request_finds_it() -> None:
    link = Link()
    call_id = link.ask()
    link.here.cancel(call_id, range(0), "at once")
    assert [type(event) for event in link.pump()[1]] == [CallArrived, CancelArrived]


def test_cancelling_half_a_request_stops_the_rest_of_it() -> None:
    link = Link()
    call_id = link.here.request(ASK, encode_fields({"blob": bytes(500_000)}))
    link.there.receive(link.here.bytes_to_send(1))
    link.here.cancel(call_id, range(0), "changed my mind")
    assert link.pump() == ([CallEnded(call_id=call_id)], [])
    assert link.idle
    for _ in range(20):
        link.here.request(ASK, encode_fields({"blob": bytes(500_000)}))
        link.there.reply(link.pump()[1][0].call_id, b"\x01")  # type: ignore[union-attr] # it is a CallArrived
        link.pump()


def test_a_cast_is_over_without_an_answer_and_must_not_have_one() -> None:
    link = Link()
    call_id = link.ask(kind=CallKind.CAST)
    link.pump()
    link.there.done(call_id)
    assert link.pump()[0] == [CallEnded(call_id=call_id)]
    assert link.idle
    second = link.ask(kind=CallKind.CAST)
    link.pump()
    with pytest.raises(RemoteProtocolError, match="an answer to cast"):
        link.here.receive(raw(0x11, second, b"\x01", flags=1))


def test_a_call_was_sent_once_its_first_bytes_were_taken() -> None:
    link = Link()
    call_id = link.ask()
    assert not link.here.was_sent(call_id)
    link.here.bytes_to_send()
    assert link.here.was_sent(call_id)


def test_no_more_calls_than_the_other_side_takes() -> None:
    link = Link(TIGHT)
    for _ in range(3):
        assert link.here.has_room(100, streams=1)
        link.ask(streams=("x",))
    assert not link.here.has_room(100)
    with pytest.raises(LocalProtocolError, match="at most 6 open streams"):
        link.ask()
    link.pump()
    with pytest.raises(RemoteProtocolError, match="more than 6 open streams"):
        link.there.receive(raw(0x10, 13, ASK.to_bytes() + BODY, flags=1))


def test_who_asks_with_more_streams_than_the_other_side_ever_takes_is_told_and_does_not_wait() -> None:
    link = Link(TIGHT)
    link.ask()
    names = tuple("abcdef")
    assert not link.here.has_room(100, streams=5)
    assert link.here.has_room(100, streams=6)
    with pytest.raises(LocalProtocolError, match="at most 6 open streams"):
        link.ask(streams=names)


def test_a_usual_request_is_left_to_the_other_way_if_there_is_no_room_and_then_nothing_is_sent() -> None:
    link = Link(Limits(streams=2, message_window=32 * 1024, message=16 * 1024))
    big = encode_fields({"b": bytes(15_000)})
    asked = [link.here.ask("s", "c", "k", 1.0, big, idempotent=False) for _ in range(3)]
    assert asked == [1, 3, None]
    link.pump()
    link.there.reply(1, encode(None))
    link.pump()
    assert link.here.ask("s", "c", "k", 1.0, bytes(20_000), idempotent=False) is None
    assert not link.here.has_bytes_to_send
    assert link.here.ask("s", "c", "k", 1.0, BODY, idempotent=False) == 5


def test_messages_need_credit_and_get_it_back_when_they_are_complete() -> None:
    link = Link(TIGHT)
    body = encode_fields({"blob": bytes(15_000)})
    calls = [link.here.request(ASK, body), link.here.request(ASK, body)]
    assert not link.here.has_room(15_000)
    with pytest.raises(LocalProtocolError, match="credit"):
        link.here.request(ASK, body)
    assert CreditArrived(stream_id=0) in link.pump()[0]
    assert link.here.has_room(15_000)
    for call_id in calls:
        link.there.reply(call_id, bytes(15_000))
    assert not link.there.has_credit(15_000)
    link.pump()
    assert link.there.has_credit(15_000)


@pytest.mark.parametrize("sizes", [(1, 16_000), (8000, 8300, 16_300), (16_000, 1, 16_300)])
def test_credit_that_is_held_back_never_keeps_a_whole_message_waiting(sizes: tuple[int, ...]) -> None:
    link = Link(TIGHT)
    for size in sizes * 5:
        assert link.here.has_room(size + 15)
        call_id = link.here.request(ASK, bytes(size))
        link.pump()
        assert link.there.has_credit(size)
        link.there.reply(call_id, bytes(size))
        link.pump()


def test_a_message_is_at_most_half_of_its_window() -> None:
    with pytest.raises(ConfigError, match="half of message_window"):
        Limits(message=2**20, message_window=2**21 - 1)


# ----------------------------------------------------------------------------------------------------------- streams


def opened(limits: Limits | None = None) -> tuple[Link, int]:
    link = Link(limits)
    call_id = link.ask(streams=("x",))
    link.pump()
    link.there.reply(call_id, b"\x01")
    link.pump()
    return link, call_id + 2


def test_a_stream_outlives_the_answer_and_ends_in_both_directions() -> None:
    link, stream = opened()
    link.here.send(stream, b"to")
    link.here.finish(stream)
    link.there.send(stream, b"fro")
    link.there.finish(stream)
    at_here, at_there = link.pump()
    assert at_there == [DataArrived(stream_id=stream, data=b"to"), EndArrived(stream_id=stream)]
    assert at_here == [DataArrived(stream_id=stream, data=b"fro"), EndArrived(stream_id=stream)]
    assert link.idle


def test_only_as_much_is_sent_as_there_is_credit_for() -> None:
    link, stream = opened(TIGHT)
    assert link.here.send(stream, bytes(40_000)) == 16384
    assert link.here.send(stream, b"x") == 0
    link.pump()
    link.there.consume(stream, 8191)
    assert link.pump()[0] == []
    link.there.consume(stream, 1)
    assert link.pump()[0] == [CreditArrived(stream_id=stream)]
    assert link.here.send(stream, bytes(40_000)) == 8192


def test_the_connection_has_a_window_of_its_own() -> None:
    link = Link(TIGHT)
    streams = []
    for _ in range(3):
        call_id = link.ask(streams=("x",))
        streams.append(call_id + 2)
    link.pump()
    assert [link.here.send(stream, bytes(20_000)) for stream in streams] == [16384, 16384, 0]
    link.pump()
    link.there.consume(streams[0], 16384)
    assert CreditArrived(stream_id=0) in link.pump()[0]
    assert link.here.send(streams[2], bytes(20_000)) == 16384


def test_a_sender_that_overruns_its_credit_ends_the_connection() -> None:
    link, stream = opened(TIGHT)
    with pytest.raises(RemoteProtocolError, match="credit"):
        link.there.receive(raw(0x18, stream, bytes(16385)))


def test_more_credit_than_was_used_ends_the_connection() -> None:
    link, stream = opened()
    with pytest.raises(RemoteProtocolError, match="credit"):
        link.here.receive(raw(0x06, stream, b"\x00\x00\x00\x01"))


def test_late_frames_of_a_closed_stream_are_dropped_and_their_credit_returned() -> None:
    link, stream = opened(TIGHT)
    link.here.send(stream, bytes(16384))
    link.there.reset(stream, 0, "unwanted")
    link.here.bytes_to_send()  # lost in the crossing: feed it by hand, after the reset
    assert link.there.receive(raw(0x18, stream, bytes(16384)) + raw(0x06, stream, bytes(3) + b"\x01")) == []
    at_here, _ = link.pump()
    assert at_here[0] == ResetArrived(stream_id=stream, code=0, reason="unwanted")
    assert CreditArrived(stream_id=0) in at_here
    assert link.idle


def test_a_frame_for_a_stream_that_never_was_ends_the_connection() -> None:
    link, stream = opened()
    with pytest.raises(RemoteProtocolError, match="never opened"):
        link.there.receive(raw(0x18, stream + 2, b"x"))


def test_a_reset_after_our_own_end_keeps_what_we_sent() -> None:
    link, stream = opened()
    link.there.send(stream, b"all of it")
    link.there.finish(stream)
    link.there.reset(stream, 0, "no more from you")
    at_here, _ = link.pump()
    assert at_here == [
        DataArrived(stream_id=stream, data=b"all of it"),
        EndArrived(stream_id=stream),
        ResetArrived(stream_id=stream, code=0, reason="no more from you"),
    ]
    assert link.idle


def test_a_reset_drops_what_was_not_sent_yet_and_keeps_its_credit() -> None:
    link, stream = opened(TIGHT)
    for _ in range(10):
        link.here.send(stream, bytes(16384))
        link.here.reset(stream, 1, "stop")
        link.pump()
        call_id = link.ask(streams=("x",))
        link.pump()
        link.there.reply(call_id, b"\x01")
        link.pump()
        stream = call_id + 2
    assert link.here.send(stream, bytes(20_000)) == 16384


def test_streams_take_turns() -> None:
    link = Link()
    one, two = link.ask(streams=("x",)) + 2, link.ask(streams=("x",)) + 2
    link.pump()
    link.here.send(one, bytes(200_000))
    link.here.send(two, bytes(200_000))
    order = []
    while link.here.has_bytes_to_send:
        order += [event.stream_id for event in link.there.receive(link.here.bytes_to_send(1))]  # type: ignore[union-attr] # all DataArrived
    assert order[:4] == [one, two, one, two]


# ----------------------------------------------------------------------------------------------------------- goodbye


def test_a_ping_comes_back() -> None:
    link = Link()
    link.here.ping(b"12345678")
    assert link.pump()[0] == [PongArrived(payload=b"12345678")]


def test_goodbye_refuses_exactly_what_had_not_arrived() -> None:
    link = Link()
    first = link.ask()
    link.pump()
    link.there.go_away(2, "leaving", retry_after=0.5)
    second = link.ask(streams=("x",))
    link.here.send(second + 2, b"data of a refused call")
    at_here, at_there = link.pump()
    assert at_there == []
    assert at_here == [GoAwayArrived(code=2, reason="leaving", retry_after=0.5, refused=(second,))]
    with pytest.raises(LocalProtocolError, match="no more calls"):
        link.ask()
    link.there.reply(first, b"\x01")
    link.there.request(ASK, BODY)
    at_here, _ = link.pump()
    assert [type(event) for event in at_here] == [ReplyArrived, CallArrived]


def test_the_last_words_of_a_broken_connection_do_not_claim_that_nothing_ran() -> None:
    link = Link()
    link.ask()
    link.here.bytes_to_send()
    with pytest.raises(RemoteProtocolError):
        link.there.receive(raw(0x77, 0))
    (goodbye,) = link.here.receive(link.there.bytes_to_send())
    assert isinstance(goodbye, GoAwayArrived)
    assert goodbye.refused == ()
    assert "0x77" in goodbye.reason


def test_a_failure_is_a_record() -> None:
    link = Link()
    call_id = link.ask()
    link.pump()
    link.there.fail(call_id, encode([11, "nobody", False, None, None]))
    (failure,) = link.pump()[0]
    assert isinstance(failure, FailureArrived)
    assert decode(failure.body)[0] == 11


# ------------------------------------------------------------------------------------------------- what is forbidden


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (raw(0x10, 2, ASK.to_bytes() + BODY, flags=1), "a request with the id 2"),
        (raw(0x10, 0, ASK.to_bytes() + BODY, flags=1), "a request with the id 0"),
        (raw(0x10, 3, ASK.to_bytes() + BODY, flags=1) * 2, "a request with the id 3 after 3"),
        (raw(0x10, 3, b"\x00", flags=1), "without a header"),
        (raw(0x10, 3, b"\xff" * 13, flags=1), "a header of 131593 bytes"),
        (raw(0x10, 3, bytes.fromhex("00 00 00 00000000 01 00 0000 0000 ff"), flags=1), "not UTF-8"),
        (raw(0x10, 3, bytes.fromhex("0c 00 00 00000000 00 00 0000 0000"), flags=1), "impossible flags"),
        (raw(0x10, 3, bytes.fromhex("00 00 00 00000000 00 00 0001 0000 6b"), flags=1), "impossible flags"),
        (raw(0x10, 3, bytes.fromhex("00 00 00 00000000 00 00 0000 0001 80"), flags=1), "malformed extension"),
        (raw(0x11, 2, b"", flags=1), "never opened"),
        (raw(0x15, 0), "never opened"),
        (raw(0x13, 1, b"x"), "but the request is complete"),
        (raw(0x14, 1, b"\x01"), "malformed cancel"),
        (raw(0x14, 1, b""), "malformed CBOR"),
        (raw(0x19, 3, b"\x01"), "malformed reset"),
        (raw(0x06, 0, b"\x01"), "malformed credit"),
        (raw(0x06, 0, bytes(4)), "a credit of 0"),
        (raw(0x03, 0, b"short"), "malformed ping"),
        (raw(0x04, 0, b"short"), "malformed pong"),
        (raw(0x05, 0, encode([1, 2])), "malformed goaway"),
        (raw(0x01, 0, b""), "unknown frame of kind 0x01"),
        (raw(0x7F, 0, b""), "unknown frame of kind 0x7f"),
        (b"\xff\xff\xff\x10" + bytes(8), "a frame of 16777215 bytes"),
        (raw(0x03, 0, bytes(8)) * 12_000, "answers wait"),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection_with_the_reason(data: bytes, why: str) -> None:
    link = Link()
    link.ask()
    link.pump()
    with pytest.raises(RemoteProtocolError, match=why):
        link.there.receive(data)
    assert link.there.phase is Phase.CLOSED
    assert link.there.receive(b"anything") == []


def test_our_own_mistakes_raise_and_change_nothing() -> None:
    link = Link()
    call_id = link.ask()
    link.pump()
    with pytest.raises(LocalProtocolError):
        link.here.reply(call_id, b"\x01")
    with pytest.raises(LocalProtocolError):
        link.there.done(call_id)
    with pytest.raises(LocalProtocolError):
        link.there.send(99, b"x")
    with pytest.raises(LocalProtocolError):
        link.here.ping(b"short")
    with pytest.raises(LocalProtocolError):
        link.here.request(CallHeader(cmd="x" * 300), BODY)
    with pytest.raises(LocalProtocolError):
        link.here.request(CallHeader(cmd="x", streams=("a", "a")), BODY)
    link.there.reply(call_id, b"\x01")
    with pytest.raises(LocalProtocolError):
        link.there.reply(call_id, b"\x01")
    assert [type(event) for event in link.pump()[0]] == [ReplyArrived]


def test_the_key_of_a_field_cannot_hide_behind_the_header() -> None:
    with pytest.raises(LocalProtocolError, match="'key' belongs into the header"):
        encode_fields({"key": "k"})


def test_a_reset_that_waits_behind_data_costs_no_credit_and_gives_none_back() -> None:
    link = Link()
    call_id = link.ask(streams=("x",))
    link.here.send(call_id + 2, b"abc")
    link.here.finish(call_id + 2)
    link.here.reset(call_id + 2, 0, "enough")
    link.there.go_away(GoAwayCode.DRAINING, "leaving")
    link.here.receive(link.there.bytes_to_send())
    assert link.here._line.allowance.available == Limits().connection_window
