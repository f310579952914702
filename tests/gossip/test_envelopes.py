"""Sealed datagrams and conversations, without a network."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.gossip.envelopes import Conversation, Envelopes
from swimring.identity import NodeId
from swimring.net import Host
from swimring.security import Keyring, Sealing, key_id
from swimring.swim import MAX_FRAME, Ack, BytesRefused, Envelope, Gossip, KeyMissing, Ping, Refused, encode_frame

if TYPE_CHECKING:
    from swimring.swim import Message

OLD, NEW = bytes([1]) * 32, bytes([2]) * 32


class Machine(Host):
    """Salts that are all different, and a clock that stands."""

    def __init__(self) -> None:
        self.salts = 0
        self.minute = 1000

    def wall_ms(self) -> int:
        return self.minute * 60_000

    def boot_time(self) -> float:
        return 0.0

    def entropy(self, size: int) -> bytes:
        self.salts += 1
        return self.salts.to_bytes(size, "big")


MACHINE = Machine()


def envelopes(*keys: bytes, sealing: Sealing = Sealing.REQUIRE) -> Envelopes:
    return Envelopes(cluster="test", host=MACHINE, keyring=Keyring(keys) if keys else None, sealing=sealing)


def envelope(message: Message, *, source: str = "alice") -> Envelope:
    return Envelope(source=NodeId(source, 1), incarnation=1, destination=NodeId("bob", 1), message=message)


def reason(call: object, data: bytes) -> str:
    assert callable(call)
    with pytest.raises(BytesRefused) as caught:
        call(data)
    return caught.value.reason


def read(talk: Conversation, frame: bytes) -> Envelope:
    talk.check_magic(frame[:1])
    assert talk.frame_length(frame[:5]) == len(frame) - 5
    return talk.read(frame)


@pytest.mark.parametrize(
    ("sender", "receiver", "taken"),
    [
        ((), (), True),
        ((), (Sealing.ACCEPT,), True),
        ((), (Sealing.PREFER,), True),
        ((), (Sealing.REQUIRE,), False),
        ((Sealing.ACCEPT,), (), True),
        ((Sealing.ACCEPT,), (Sealing.PREFER,), True),
        ((Sealing.ACCEPT,), (Sealing.REQUIRE,), False),
        ((Sealing.PREFER,), (), False),
        ((Sealing.PREFER,), (Sealing.ACCEPT,), True),
        ((Sealing.PREFER,), (Sealing.REQUIRE,), True),
        ((Sealing.REQUIRE,), (), False),
        ((Sealing.REQUIRE,), (Sealing.ACCEPT,), True),
        ((Sealing.REQUIRE,), (Sealing.PREFER,), True),
    ],
)  # fmt: skip
def test_neighbouring_steps_of_the_migration_understand_each_other(
    sender: tuple[Sealing, ...], receiver: tuple[Sealing, ...], taken: bool
) -> None:
    def at(step: tuple[Sealing, ...]) -> Envelopes:
        return envelopes(OLD, sealing=step[0]) if step else envelopes()

    here, there = at(sender), at(receiver)
    question, answer = envelope(Ping()), envelope(Ack(), source="bob")
    datagram, talk, answering = here.write_datagram(question), next(here.dials("")), there.answer()
    frame = talk.write(question)
    if taken:
        assert there.read_datagram(datagram) == question
        assert read(answering, frame) == question
        assert read(talk, answering.write(answer)) == answer
    else:
        assert reason(there.read_datagram, datagram) in {"sealed", "unsealed"}
        assert reason(lambda data: read(answering, data), frame) in {"sealed", "unsealed"}


@pytest.mark.parametrize("keys", [(), (OLD,)], ids=["plain", "sealed"])
@pytest.mark.parametrize("checksum", [None, 7])
def test_a_padded_ping_is_as_large_as_asked_and_read_as_any_other(
    keys: tuple[bytes, ...], checksum: int | None
) -> None:
    here, there = envelopes(*keys), envelopes(*keys)
    question = envelope(Ping(checksum=checksum))
    datagram = here.write_padded_ping(question, size=1400)
    assert len(datagram) == 1400
    assert there.read_datagram(datagram) == question


def test_a_datagram_with_its_seal_stays_within_the_budget() -> None:
    here = envelopes(OLD)
    question = envelope(Ping())
    assert len(here.write_datagram(question)) == len(envelopes().write_datagram(question)) + here.overhead


def test_a_conversation_has_no_gaps_and_no_repetitions() -> None:
    here, there = envelopes(OLD), envelopes(OLD)
    talk = next(here.dials(""))
    frames = [talk.write(envelope(Ping())) for _ in range(3)]
    gap, repetition = there.answer(), envelopes(OLD).answer()
    read(gap, frames[0])
    assert reason(lambda data: read(gap, data), frames[2]) == "replay"
    read(repetition, frames[0])
    assert reason(lambda data: read(repetition, data), frames[0]) == "replay"
    assert reason(lambda data: read(envelopes(OLD).answer(), data), frames[1]) == "replay"


def test_a_recorded_connection_cannot_be_made_again() -> None:
    there = envelopes(OLD)
    frame = next(envelopes(OLD).dials("")).write(envelope(Ping()))
    read(there.answer(), frame)
    assert reason(lambda data: read(there.answer(), data), frame) == "replay"


def test_an_answer_fits_no_other_question_and_a_question_is_no_answer() -> None:
    here, there = envelopes(OLD), envelopes(OLD)
    one, other = next(here.dials("")), next(here.dials(""))
    answering = there.answer()
    question = one.write(envelope(Ping()))
    read(answering, question)
    answer = answering.write(envelope(Ack()))
    assert reason(lambda data: read(other, data), answer) == "seal"
    assert reason(lambda data: read(one, data), question) == "seal"
    assert reason(there.read_datagram, question) in {"key", "time", "seal"}
    read(one, answer)


def test_in_plain_a_dialler_believes_a_refusal_and_nothing_else() -> None:
    key = envelopes().tag_key
    talk = next(envelopes(OLD).dials(""))
    assert reason(lambda data: read(talk, data), encode_frame(envelope(Ack()), key=key)) == "unsealed"
    refusal = envelope(Refused(reason="key: unknown"))
    assert read(talk, encode_frame(refusal, key=key)) == refusal


def test_a_sealed_frame_is_bounded_before_it_is_read() -> None:
    talk = next(envelopes(OLD).dials(""))
    assert talk.frame_length(b"\xd1" + (MAX_FRAME + 5 + 48).to_bytes(4, "big")) == 65_589
    assert reason(talk.frame_length, b"\xd1" + (MAX_FRAME + 5 + 49).to_bytes(4, "big")) == "oversized"


def test_who_lacks_the_key_is_written_to_with_the_one_it_has_until_it_uses_ours() -> None:
    here, there = envelopes(NEW, OLD), envelopes(OLD)
    assert there.keyring is not None
    question = envelope(Ping())
    assert reason(there.read_datagram, here.write_datagram(question)) == "key"
    here.read_datagram(there.write_datagram(envelope(Gossip(), source="bob")))
    assert reason(there.read_datagram, here.write_datagram(question)) == "key"
    here.read_datagram(there.write_datagram(envelope(KeyMissing(), source="bob")))
    there.read_datagram(here.write_datagram(question))
    assert [talk.write(question)[5:9] for talk in here.dials("bob")] == [key_id(OLD), key_id(NEW)]
    there.keyring.use(there.keyring.install(NEW))
    here.read_datagram(there.write_datagram(envelope(Gossip(), source="bob")))
    assert here.write_datagram(question)[1:5] == key_id(NEW)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_is_raised(data: bytes) -> None:
    for here in (envelopes(OLD), envelopes(OLD, sealing=Sealing.PREFER), envelopes()):
        for body in (data, b"\xd1" + data, b"\xd1" + key_id(OLD) + data, b"\xd1" + len(data).to_bytes(4, "big") + data):
            with contextlib.suppress(BytesRefused):
                here.read_datagram(body)
            for talk in (here.answer(), next(here.dials(""))):
                with contextlib.suppress(BytesRefused):
                    talk.check_magic(body[:1])
                    talk.frame_length(body[:5].ljust(5, b"\0"))
                    talk.read(body)
