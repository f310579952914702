"""Two sessions, a link that cuts, delays and breaks, and every use of a session in any order: the books balance.

`nox -s fuzz -- --examples 2000` runs longer conversations than there is patience for in every run.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from swimring.errors import LocalProtocolError, RemoteProtocolError
from swimring.mux import CallHeader, CallKind, GoAwayCode, Phase
from tests.examples import examples

from .machine import NARROW, NOISE, Side, connected

if TYPE_CHECKING:
    from collections.abc import Callable

sides = st.sampled_from((0, 1))
picks = st.integers(0, 50)
sizes = st.sampled_from((0, 1, 100, 9_000, 18_000))


class Conversation(RuleBasedStateMachine):
    """What two applications do with their sessions, and what becomes of the bytes in between."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = connected()

    # ------------------------------------------------------------------------------------------------- the link

    @rule(side=sides, limit=st.sampled_from((1, 20_000, 65_536)))
    def write(self, side: int, limit: int) -> None:
        self._write(self.sides[side], limit)

    @rule(side=sides, size=st.sampled_from((1, 11, 13, 300, 17_000, 100_000)))
    def deliver(self, side: int, size: int) -> None:
        self._deliver(self.sides[side], size)

    def _write(self, side: Side, limit: int) -> None:
        side.other.wire += side.session.bytes_to_send(limit)

    def _deliver(self, side: Side, size: int) -> None:
        piece, side.wire = side.wire[:size], side.wire[size:]
        for event in side.session.receive(piece):
            side.hear(event)

    # ------------------------------------------------------------------------------------------------- calls

    @rule(side=sides, size=sizes, streams=st.integers(0, 3), kind=st.sampled_from(CallKind))
    def ask(self, side: int, size: int, streams: int, kind: CallKind) -> None:
        me = self.sides[side]
        header = CallHeader(ns="s", cmd=f"c{len(me.made)}", kind=kind, streams=("x", "y", "z")[:streams])
        if me.session.has_room(size + 100, streams=streams) and not me.session.told_to_go_away:
            me.ask(header, NOISE[len(me.made) :][:size])

    @rule(side=sides, pick=picks, size=sizes, fail=st.booleans())
    def answer(self, side: int, pick: int, size: int, fail: bool) -> None:
        me = self.sides[side]
        if me.serving:
            call_id = sorted(me.serving)[pick % len(me.serving)]
            self._answer(me, call_id, size, fail=fail)

    def _answer(self, me: Side, call_id: int, size: int, *, fail: bool = False) -> None:
        if me.serving[call_id].header.kind is CallKind.CAST or (call_id in me.cancelled_there and size == 0):
            me.done(call_id)
        elif me.session.has_credit(size):
            me.answer(call_id, NOISE[call_id:][:size], fail=fail)

    @rule(side=sides, pick=picks)
    def cancel(self, side: int, pick: int) -> None:
        me = self.sides[side]
        waiting = [call_id for call_id, call in me.made.items() if not (call.ends or call.cancelled)]
        if waiting:
            me.cancel(waiting[pick % len(waiting)])

    @rule(side=sides, pick=picks, count=st.integers(1, 2))
    def offer(self, side: int, pick: int, count: int) -> None:
        me = self.sides[side]
        askers = [
            call_id
            for call_id, call in sorted(me.serving.items())
            if call.header.kind is CallKind.REQUEST and call_id not in me.cancelled_there | me.offered
        ]
        if askers and me.session.can_offer(count):
            me.offer(askers[pick % len(askers)], ["p", "q"][:count])

    # ------------------------------------------------------------------------------------------------- streams

    @rule(side=sides, pick=picks, size=st.sampled_from((1, 500, 17_000)))
    def send(self, side: int, pick: int, size: int) -> None:
        me = self.sides[side]
        open_ones = [stream for stream in sorted(me.out) if me.can_write(stream)]
        if open_ones:
            me.send(open_ones[pick % len(open_ones)], size)

    @rule(side=sides, pick=picks)
    def finish(self, side: int, pick: int) -> None:
        me = self.sides[side]
        open_ones = [stream for stream in sorted(me.out) if me.can_write(stream)]
        if open_ones:
            me.finish(open_ones[pick % len(open_ones)])

    @rule(side=sides, pick=picks)
    def read(self, side: int, pick: int) -> None:
        me = self.sides[side]
        if me.unread:
            me.read(sorted(me.unread)[pick % len(me.unread)])

    @rule(side=sides, pick=picks)
    def reset(self, side: int, pick: int) -> None:
        me = self.sides[side]
        if me.out:
            me.reset(sorted(me.out)[pick % len(me.out)])

    # ------------------------------------------------------------------------------------------------- manners

    @rule(side=sides, payload=st.binary(min_size=8, max_size=8))
    def ping(self, side: int, payload: bytes) -> None:
        me = self.sides[side]
        me.session.ping(payload)
        me.pings.append(payload)

    @precondition(lambda self: not all(side.gone for side in self.sides))
    @rule(side=sides, code=st.sampled_from((GoAwayCode.DRAINING, GoAwayCode.DUPLICATE)))
    def go_away(self, side: int, code: GoAwayCode) -> None:
        self.sides[side].session.go_away(code, "enough")
        self.sides[side].gone = True

    @rule(side=sides, pick=picks)
    def misuse(self, side: int, pick: int) -> None:
        """Whatever is not allowed raises, and nothing has changed."""
        me = self.sides[side]
        before = me.situation()
        wrong = self._misuses(me)
        with pytest.raises(LocalProtocolError):
            wrong[pick % len(wrong)]()
        assert me.situation() == before

    def _misuses(self, me: Side) -> list[Callable[[], object]]:
        session = me.session
        over = next(iter(me.served), 99_999)
        wrong: list[Callable[[], object]] = [
            partial(session.reply, over, b""),
            partial(session.done, over),
            partial(session.offer, over, ["x"]),
            partial(session.ping, b"short"),
            partial(session.send, 99_999, b"x"),
            partial(session.request, CallHeader(cmd="c"), bytes(NARROW.message)),
            partial(session.request, CallHeader(cmd="c", streams=("x", "x")), b""),
            partial(session.request, CallHeader(cmd="c", streams=tuple("abcdefghi")), b""),
        ]
        for stream in me.out:
            if not me.can_write(stream):
                wrong += [partial(session.send, stream, b"x"), partial(session.finish, stream)]
        if session.told_to_go_away:
            wrong.append(partial(session.request, CallHeader(cmd="c"), b""))
        return wrong + self._misuses_of_calls(me)

    def _misuses_of_calls(self, me: Side) -> list[Callable[[], object]]:
        session = me.session
        wrong: list[Callable[[], object]] = []
        for call_id, call in me.serving.items():
            if call.header.kind is CallKind.CAST:
                wrong += [partial(session.reply, call_id, b""), partial(session.offer, call_id, ["x"])]
            elif call_id not in me.cancelled_there:
                wrong.append(partial(session.done, call_id))
            if call_id in me.offered:
                wrong.append(partial(session.offer, call_id, ["again"]))
            if not session.has_credit(NARROW.message):
                wrong.append(partial(session.reply, call_id, bytes(NARROW.message)))
        return wrong

    # ------------------------------------------------------------------------------------------------- the rules

    @invariant()
    def not_a_byte_of_credit_is_lost_or_made_up(self) -> None:
        for side in self.sides:
            side.check_credit()

    @invariant()
    def what_is_kept_is_bounded_and_nothing_ends_twice(self) -> None:
        for side in self.sides:
            side.check_bounds()

    @rule()
    def the_link_breaks(self) -> None:
        """What nobody has heard of, did not happen."""
        for side in self.sides:
            for call_id, call in side.made.items():
                assert not call.arrived or side.session.was_sent(call_id)
            with suppress(RemoteProtocolError):
                side.session.receive_eof()
            assert side.session.phase is Phase.CLOSED
        self.sides = connected()

    def teardown(self) -> None:
        """Everything is read, answered and ended; then nothing is left on either side."""
        for _ in range(40):
            for me in self.sides:
                self._wind_up(me)
                self._write(me, 65_536)
            for me in self.sides:
                self._deliver(me, 1_000_000)
        for side in self.sides:
            side.check_over()
            side.check_credit()

    def _wind_up(self, me: Side) -> None:
        for call_id in list(me.serving):
            self._answer(me, call_id, 1)
        for stream in list(me.unread):
            me.read(stream)
        for stream in filter(me.can_write, list(me.out)):
            me.finish(stream)


def test_any_conversation_over_a_link_that_cuts_and_delays_keeps_the_books_and_leaves_nothing_behind() -> None:
    run_state_machine_as_test(Conversation, settings=settings(examples(60), stateful_step_count=60))
