"""Whatever bytes a peer sends, only RemoteProtocolError comes out of a session and of the decoders of mux."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from swimring.codec import encode
from swimring.errors import CallError, HandlerFailed, RemoteProtocolError
from swimring.identity import NodeId
from swimring.mux import CallHeader, Hello, Limits, Phase, Session, cluster_digest, decode_failure, decode_fields
from swimring.mux.header import split_request
from swimring.service import BUILT_IN, UNDECLARED

LIMITS = Limits(streams=50)
HELLO = Hello(node=NodeId("b", 1), cluster=cluster_digest("test"), limits=LIMITS).to_bytes()
GREETING = b"\xf1" + len(HELLO).to_bytes(3, "big") + bytes([1, 0]) + bytes(7) + HELLO
KINDS = [*range(8), *range(0x10, 0x1C), 0x77]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
bodies = (
    st.binary(max_size=40)
    | values.map(encode)
    | st.sampled_from([CallHeader(cmd="c").to_bytes() + b"\xa0", encode([2, ["x"]]), encode([4, ["x", "y"]])])
)
frames = st.tuples(
    st.sampled_from(KINDS), st.sampled_from([0, 1, 2, 3, 0x80]), st.integers(0, 9) | st.integers(0, 2**56 - 1), bodies
).map(lambda f: len(f[3]).to_bytes(3, "big") + bytes([f[0], f[1]]) + f[2].to_bytes(7, "big") + f[3])


def session(*, dialled: bool = False) -> Session:
    return Session(me=NodeId("a", 1), cluster="test", limits=LIMITS, dialled=dialled)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes(data: bytes, dialled: bool) -> None:
    with suppress(RemoteProtocolError):
        stranger = session(dialled=dialled)
        stranger.receive(data)
        stranger.receive_eof()


@settings(max_examples=500, deadline=None)
@given(st.lists(frames, max_size=12), st.integers(1, 2000))
def test_frames_that_look_right(sequence: list[bytes], piece: int) -> None:
    victim = session()
    victim.receive(GREETING)
    for number in range(3):
        victim.request(CallHeader(cmd="c", streams=("x",) * (number % 2)), b"\xa0")
    victim.bytes_to_send()
    data = b"".join(sequence)
    try:
        for start in range(0, len(data), piece):
            victim.receive(data[start : start + piece])
        victim.bytes_to_send()
        victim.receive_eof()
    except RemoteProtocolError:
        assert victim.phase is Phase.CLOSED


@settings(max_examples=200, deadline=None)
@given(bodies)
def test_the_decoders(data: bytes) -> None:
    for decoder in (Hello.from_bytes, split_request, lambda body: decode_fields(CallHeader(cmd="c"), body)):
        with suppress(RemoteProtocolError):
            decoder(data)
    with suppress(RemoteProtocolError):
        assert isinstance(decode_failure(data), CallError)


texts = st.sampled_from(["", "ValueError", "x" * 200])
arguments = bodies | st.lists(values, max_size=3).map(encode)
declared = st.tuples(st.sampled_from(["ValueError", "KeyError", "TimeoutError", "ExceptionGroup", "eval"]), arguments)
trees = st.recursive(
    st.none() | values,
    lambda inner: st.tuples(
        texts, texts, texts, inner, st.lists(inner, max_size=3), declared.map(list) | values, values, values
    ).map(list),
    max_leaves=30,
)


@settings(max_examples=150, deadline=None)
@given(trees)
def test_trees_of_failures_raise_what_is_on_the_list_and_nothing_else(tree: object) -> None:
    with suppress(RemoteProtocolError):
        failed = decode_failure(encode([13, "", True, None, tree]))
        assert isinstance(failed, HandlerFailed)
        made = UNDECLARED.rebuild(failed)
        assert type(made) in (*BUILT_IN, HandlerFailed, ExceptionGroup)
        assert made is failed or made.__cause__ is failed
        assert len(list(failed.walk())) <= 64
