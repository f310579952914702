"""Hellos between sides that have a secret, another one, or none."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimring.codec import decode, encode
from swimring.errors import RemoteProtocolError
from swimring.identity import NodeId
from swimring.mux import Hello, HelloRefused, Limits, PeerReady, Phase, RefusalArrived, RefusalCode, Secret, Session
from swimring.mux.frames import Kind, frame
from swimring.mux.hello import cluster_digest
from swimring.mux.proof import prove

OLD, NEW, WRONG = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32


def secret(*keys: bytes, nonce: int = 7, required: bool = True) -> Secret | None:
    return Secret(keys=keys, nonce=bytes([nonce]) * 32, required=required) if keys else None


def pair(dialler: Secret | None, listener: Secret | None) -> tuple[Session, Session]:
    here = Session(me=NodeId("a", 1), cluster="test", limits=Limits(), dialled=True, secret=dialler)
    return here, Session(me=NodeId("b", 2), cluster="test", limits=Limits(), dialled=False, secret=listener)


@pytest.mark.parametrize(
    ("dialler", "listener"),
    [
        (secret(OLD), secret(OLD, nonce=8)),
        (secret(NEW, OLD), secret(OLD, nonce=8)),
        (secret(OLD), secret(NEW, OLD, nonce=8)),
        (secret(OLD, required=False), secret(OLD, nonce=8)),
        (secret(OLD), secret(OLD, nonce=8, required=False)),
    ],
)
def test_who_shares_a_key_is_welcome_once_both_have_proved_it(dialler: Secret, listener: Secret) -> None:
    here, there = pair(dialler, listener)
    assert there.receive(here.bytes_to_send()) == []
    assert repr(there) == "<Session with a: waiting for the proof, 0 calls, 0 streams>"
    assert [type(event) for event in here.receive(there.bytes_to_send())] == [PeerReady]
    assert [type(event) for event in there.receive(here.bytes_to_send())] == [PeerReady]
    assert here.phase is there.phase is Phase.OPEN


def test_the_proof_may_come_byte_by_byte_and_with_what_follows_it() -> None:
    here, there = pair(secret(OLD), secret(OLD, nonce=8))
    there.receive(here.bytes_to_send())
    here.receive(there.bytes_to_send())
    here.ping(b"12345678")
    events = [event for byte in here.bytes_to_send() for event in there.receive(bytes([byte]))]
    assert [type(event) for event in events] == [PeerReady]
    assert there.has_bytes_to_send


@pytest.mark.parametrize("dialler", [secret(OLD, required=False), None])
@pytest.mark.parametrize("listener", [secret(WRONG, nonce=8, required=False), None])
def test_while_a_cluster_gets_its_secret_everybody_is_welcome(dialler: Secret | None, listener: Secret | None) -> None:
    here, there = pair(dialler, listener)
    assert [type(event) for event in there.receive(here.bytes_to_send())] == [PeerReady]
    assert [type(event) for event in here.receive(there.bytes_to_send())] == [PeerReady]


@pytest.mark.parametrize(
    ("dialler", "text"), [(None, "a@1 has none: give it the secret"), (secret(WRONG), "a@1 has another secret: key")]
)
def test_a_listener_refuses_a_dialler_without_its_secret_and_says_so(dialler: Secret | None, text: str) -> None:
    here, there = pair(dialler, secret(OLD, nonce=8))
    with pytest.raises(HelloRefused) as caught:
        there.receive(here.bytes_to_send())
    assert caught.value.code is RefusalCode.SECRET
    (refusal,) = here.receive(there.bytes_to_send())
    assert isinstance(refusal, RefusalArrived)
    assert refusal.code == RefusalCode.SECRET
    assert "secret" in refusal.reason


@pytest.mark.parametrize("listener", [None, secret(WRONG, nonce=8, required=False)])
def test_a_dialler_refuses_a_listener_without_its_secret(listener: Secret | None) -> None:
    here, there = pair(secret(OLD), listener)
    there.receive(here.bytes_to_send())
    with pytest.raises(HelloRefused) as caught:
        here.receive(there.bytes_to_send())
    assert caught.value.code is RefusalCode.SECRET
    assert isinstance(there.receive(here.bytes_to_send())[0], RefusalArrived)


def test_without_a_secret_a_hello_is_what_it_always_was() -> None:
    plain = Hello(node=NodeId("a", 1), cluster=cluster_digest("test"), limits=Limits())
    assert dataclasses.replace(plain, nonce=bytes(32)).to_bytes()[1:].startswith(plain.to_bytes()[1:])
    assert Hello.from_bytes(plain.to_bytes()) == plain


@given(st.binary(max_size=40))
def test_any_other_proof_is_refused(proof: bytes) -> None:
    here, there = pair(secret(OLD), secret(OLD, nonce=8))
    there.receive(here.bytes_to_send())
    there.bytes_to_send()
    with pytest.raises(HelloRefused, match="does not prove"):
        there.receive(frame(Kind.PROOF, 0, 0, proof))


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.REQUEST, Kind.PING])
def test_nothing_else_is_allowed_before_the_proof(kind: int) -> None:
    here, there = pair(secret(OLD), secret(OLD, nonce=8))
    hello = here.bytes_to_send()
    there.receive(hello)
    with pytest.raises(RemoteProtocolError, match="while waiting for the proof"):
        there.receive(hello[1:] if kind == Kind.HELLO else frame(kind, 0, 0, b"12345678"))


def test_a_proof_fits_one_pair_of_hellos_and_one_side() -> None:
    a = Hello(node=NodeId("a", 1), cluster=cluster_digest("test"), limits=Limits(), nonce=bytes([7]) * 32)
    b = Hello(node=NodeId("b", 2), cluster=cluster_digest("test"), limits=Limits(), nonce=bytes([8]) * 32)
    other_nonce = dataclasses.replace(b, nonce=bytes([9]) * 32)
    other_name = dataclasses.replace(b, node=NodeId("c", 2))
    other_cluster = dataclasses.replace(b, cluster=cluster_digest("prod"))
    proofs = {
        prove(OLD, dialler=a, listener=each, by_dialler=True) for each in (b, other_nonce, other_name, other_cluster)
    }
    proofs |= {prove(OLD, dialler=a, listener=b, by_dialler=False), prove(NEW, dialler=a, listener=b, by_dialler=True)}
    proofs |= {prove(OLD, dialler=b, listener=a, by_dialler=True)}
    assert len(proofs) == 7


@pytest.mark.parametrize("listener", [OLD, WRONG])
def test_a_recorded_conversation_opens_no_second_connection(listener: bytes) -> None:
    here, there = pair(secret(OLD), secret(OLD, nonce=8))
    recorded = here.bytes_to_send()
    there.receive(recorded)
    here.receive(there.bytes_to_send())
    recorded += here.bytes_to_send()
    _, again = pair(None, secret(listener, nonce=9))
    with pytest.raises(HelloRefused):
        again.receive(recorded)


@given(st.recursive(st.none() | st.binary(max_size=40) | st.integers(), lambda inner: st.lists(inner, max_size=4)))
def test_any_authentication_is_read_or_refused(item: object) -> None:
    plain = Hello(node=NodeId("a", 1), cluster=cluster_digest("test"), limits=Limits()).to_bytes()
    with contextlib.suppress(RemoteProtocolError):
        Hello.from_bytes(encode([*decode(plain), item]))
