"""The two life cycles are tables: every pair that is not in them is illegal."""

from __future__ import annotations

import itertools

import pytest

from swimring.codec import encode
from swimring.errors import LocalProtocolError, RemoteProtocolError
from swimring.mux import CALL_LIFE, LIFE, CallHeader, CallState, CallStep, Step, StreamState

from .link import BODY, Link, raw

ARRIVING = (Step.DATA, Step.DATA_END, Step.RESET)


def in_state(state: StreamState) -> tuple[Link, int]:
    link = Link()
    stream = link.ask(streams=("x",)) + 2
    link.pump()
    if state is StreamState.ENDED_HERE:
        link.here.finish(stream)
    elif state is StreamState.ENDED_THERE:
        link.there.finish(stream)
    elif state is StreamState.CLOSED:
        link.here.reset(stream, 0, "")
    link.pump()
    assert link.here.stream_state(stream) is state
    return link, stream


def take(link: Link, stream: int, step: Step) -> None:
    match step:
        case Step.SEND:
            link.here.send(stream, b"x")
        case Step.SEND_END:
            link.here.finish(stream)
        case Step.SEND_RESET:
            link.here.reset(stream, 0, "")
        case Step.DATA:
            link.here.receive(raw(0x18, stream, b"x"))
        case Step.DATA_END:
            link.here.receive(raw(0x18, stream, flags=1))
        case Step.RESET:
            link.here.receive(raw(0x19, stream, encode([0, ""])))


@pytest.mark.parametrize(("state", "step"), list(itertools.product(StreamState, Step)))
def test_a_stream_lives_by_its_table(state: StreamState, step: Step) -> None:
    link, stream = in_state(state)
    after = LIFE.get((state, step))
    if after is not None:
        take(link, stream, step)
        link.here.bytes_to_send()
        assert link.here.stream_state(stream) is after
    elif state is StreamState.CLOSED and (step in ARRIVING or step is Step.SEND_RESET):
        take(link, stream, step)  # late, or twice: dropped
        assert link.here.stream_state(stream) is StreamState.CLOSED
    else:
        with pytest.raises(RemoteProtocolError if step in ARRIVING else LocalProtocolError):
            take(link, stream, step)


FRAMES = {
    CallStep.BODY: (0x13, 0),
    CallStep.BODY_END: (0x13, 1),
    CallStep.CANCEL: (0x14, 0),
    CallStep.OFFER: (0x16, 0),
    CallStep.ANSWER: (0x11, 0),
    CallStep.ANSWER_END: (0x11, 1),
    CallStep.DONE: (0x15, 0),
}


@pytest.mark.parametrize("step", CallStep)
def test_a_call_that_is_arriving_takes_what_its_table_says(step: CallStep) -> None:
    link = Link()
    message = CallHeader(ns="s", cmd="c").to_bytes() + BODY
    link.there.receive(raw(0x10, 1, message[:5]))
    kind, flags = FRAMES[step]
    body = encode(["enough"]) if step is CallStep.CANCEL else message[5:]
    frame = raw(kind, 1, body, flags=flags)
    if step is CallStep.OFFER:
        with pytest.raises(RemoteProtocolError):
            link.there.receive(frame)  # only who was asked can offer
        return
    if step in (CallStep.ANSWER, CallStep.ANSWER_END, CallStep.DONE):
        link.there.receive(frame)  # nobody awaits an answer to what the other side asked: late, dropped
        assert link.there.open_calls == 1
        return
    after = CALL_LIFE[CallState.ASKING, step]
    link.there.receive(frame)
    assert link.there.open_calls == (after is not CallState.OVER)


@pytest.mark.parametrize("state", [CallState.RUNNING, CallState.OFFERED, CallState.ANSWERING])
@pytest.mark.parametrize("step", CallStep)
def test_a_call_that_awaits_its_answer_takes_what_its_table_says(step: CallStep, state: CallState) -> None:
    link = Link()
    call_id = link.ask()
    link.pump()
    if state is CallState.OFFERED:
        link.here.receive(raw(0x16, call_id, encode([2, ["x"]])))
    elif state is CallState.ANSWERING:
        link.here.receive(raw(0x11, call_id, b"\x82\x01"))
    kind, flags = FRAMES[step]
    bodies = {CallStep.CANCEL: encode(["enough"]), CallStep.OFFER: encode([4, ["y"]])}
    frame = raw(kind, call_id, bodies.get(step, b"\x02"), flags=flags)
    after = CALL_LIFE.get((state, step))
    if step is CallStep.CANCEL:
        link.here.receive(frame)  # only who asked can cancel: dropped
        assert link.here.open_calls == 1
    elif after is None or step is CallStep.DONE:  # done is for casts and cancelled calls
        with pytest.raises(RemoteProtocolError):
            link.here.receive(frame)
    else:
        link.here.receive(frame)
        assert link.here.open_calls == (after is not CallState.OVER)
