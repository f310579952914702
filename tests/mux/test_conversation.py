"""Two sessions, a link that cuts and delays, and random conversations: whatever happens, the books balance."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from swimring.mux import (
    CallArrived,
    CallEnded,
    CallKind,
    CancelArrived,
    DataArrived,
    EndArrived,
    Event,
    Limits,
    ReplyArrived,
    ResetArrived,
    Session,
    StreamsOffered,
    encode_fields,
    stream_ids,
)
from swimring.mux.header import CallHeader

from .link import Link

NARROW = Limits(
    streams=12, message=20_000, message_window=40_000, stream_window=16_384, connection_window=40_000, frame_body=16_384
)


class Party:
    """One side: makes random calls, answers those of the other, and checks that everything adds up."""

    def __init__(self, session: Session, dice: random.Random) -> None:
        self.session = session
        self.dice = dice
        self.asked: dict[int, bytes] = {}
        self.outcomes: dict[int, str] = {}
        self.serving: dict[int, CallArrived] = {}
        self.cancelled: set[int] = set()
        self.offered: set[int] = set()
        self.streams: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.broken: set[int] = set()

    def act(self) -> None:
        moves = [
            self.ask,
            self.ask,
            self.answer,
            self.answer,
            self.offer,
            self.write,
            self.write,
            self.finish,
            self.cancel,
            self.reset,
        ]
        self.dice.choice(moves)()

    def ask(self) -> None:
        names = ("x", "y")[: self.dice.choice((0, 0, 1, 2))]
        body = encode_fields({"blob": self.dice.randbytes(self.dice.choice((1, 100, 18_000)))})
        if not self.session.has_room(len(body) + 5000, streams=len(names)):
            return
        kind = self.dice.choice((CallKind.REQUEST, CallKind.REQUEST, CallKind.CAST))
        call_id = self.session.request(CallHeader(cmd="c", kind=kind, streams=names), body)
        self.asked[call_id] = body
        if kind is CallKind.CAST:
            self.outcomes[call_id] = "cast"
        for stream in stream_ids(call_id, len(names)):
            self.streams[stream] = b""

    def answer(self) -> None:
        if not self.serving:
            return
        call_id = self.dice.choice(sorted(self.serving))
        call = self.serving[call_id]
        if call.header.kind is CallKind.CAST or call_id in self.cancelled:
            self.session.done(call_id)
        elif self.session.has_credit(len(call.body)):
            self.session.reply(call_id, call.body)
        else:
            return
        del self.serving[call_id]

    def offer(self) -> None:
        waiting = [
            call_id
            for call_id, call in sorted(self.serving.items())
            if call.header.kind is CallKind.REQUEST and call_id not in self.cancelled | self.offered
        ]
        names = ("p", "q")[: self.dice.choice((1, 2))]
        if waiting and self.session.can_offer(len(names)):
            call_id = self.dice.choice(waiting)
            self.offered.add(call_id)
            self.streams |= dict.fromkeys(self.session.offer(call_id, names), b"")

    def write(self) -> None:
        if self.streams:
            stream = self.dice.choice(sorted(self.streams))
            if self.session.stream_state(stream).name in ("OPEN", "ENDED_THERE"):
                self.session.send(stream, self.dice.randbytes(self.dice.choice((1, 20_000))))

    def finish(self) -> None:
        if self.streams:
            stream = self.dice.choice(sorted(self.streams))
            if self.session.stream_state(stream).name in ("OPEN", "ENDED_THERE"):
                self.session.finish(stream)

    def reset(self) -> None:
        if self.streams and self.dice.random() < 0.3:
            self.session.reset(self.dice.choice(sorted(self.streams)), 0, "reset")

    def cancel(self) -> None:
        open_calls = sorted(self.asked.keys() - self.outcomes.keys())
        if open_calls and self.dice.random() < 0.5:
            call_id = self.dice.choice(open_calls)
            self.outcomes[call_id] = "cancelled"
            self.session.cancel(call_id, range(call_id + 2, call_id + 2), "cancel")

    def hear(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, (DataArrived, EndArrived, ResetArrived)):
                self.hear_stream(event)
            else:
                self.hear_call(event)

    def hear_call(self, event: Event) -> None:
        match event:
            case CallArrived():
                assert event.call_id not in self.serving
                self.serving[event.call_id] = event
                self.streams |= dict.fromkeys(event.streams.values(), b"")
            case CancelArrived():
                self.cancelled.add(event.call_id)
            case ReplyArrived():
                assert event.body == self.asked[event.call_id]
                assert event.call_id not in self.outcomes
                self.outcomes[event.call_id] = "answered"
            case StreamsOffered():
                assert event.call_id not in self.outcomes
                self.streams |= dict.fromkeys(event.streams.values(), b"")
            case CallEnded():
                assert self.outcomes[event.call_id] in ("cast", "cancelled")
            case _:
                assert type(event).__name__ == "CreditArrived"

    def hear_stream(self, event: DataArrived | EndArrived | ResetArrived) -> None:
        assert event.stream_id not in self.broken
        if isinstance(event, ResetArrived):
            self.broken.add(event.stream_id)
            return
        assert event.stream_id not in self.ended
        if isinstance(event, DataArrived):
            self.session.consume(event.stream_id, len(event.data))
        else:
            self.ended.add(event.stream_id)

    def wind_up(self) -> None:
        """Answer everything, end everything."""
        for _ in range(len(self.serving)):
            self.answer()
        for stream in self.streams:
            self.session.reset(stream, 0, "over")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_random_conversations_over_a_link_that_cuts_and_delays_leave_nothing_behind(seed: int) -> None:
    dice = random.Random(seed)
    link = Link(NARROW)
    parties = (Party(link.here, dice), Party(link.there, dice))
    for _ in range(dice.randrange(40)):
        for party in parties:
            for _ in range(dice.randrange(4)):
                party.act()
        exchange(link, parties, dice)
    for _ in range(60):
        for party in parties:
            party.wind_up()
        exchange(link, parties, dice)
    for party in parties:
        assert party.session.idle, party.session
        assert party.asked.keys() == party.outcomes.keys()
        line = party.session._line
        assert (line.open_here, line.open_there) == (0, 0)
        assert line.window._room + line.window._owed == NARROW.connection_window
        assert line.message_window._room + line.message_window._owed == NARROW.message_window
    for one, other in (parties, parties[::-1]):
        assert one.session._line.allowance.available == other.session._line.window._room
        assert one.session._line.message_allowance.available == other.session._line.message_window._room


def exchange(link: Link, parties: tuple[Party, Party], dice: random.Random) -> None:
    for party, events in zip(parties, link.pump_in_pieces(dice), strict=True):
        party.hear(events)
