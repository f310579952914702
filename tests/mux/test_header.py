"""The routing header, at its edges."""

from __future__ import annotations

import math

import pytest

from swimring.codec import encode
from swimring.errors import LocalProtocolError, RemoteProtocolError
from swimring.mux import CallHeader, header_allowance
from swimring.mux.frames import END, Kind, frame
from swimring.mux.header import small_request, split_request
from swimring.mux.offers import encode_offer


@pytest.mark.parametrize("remaining", [0.0, -1.0, -math.inf])
def test_a_deadline_that_has_passed_travels_as_nothing_left(remaining: float) -> None:
    header, _body = split_request(CallHeader(cmd="c", remaining=remaining).to_bytes())
    assert header.remaining == 0


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("remaining", [math.inf, 0.0, -math.inf, 0.0001, 12.5, 1e12])
@pytest.mark.parametrize("key", [None, "", "k", "schlüssel", b"", b"\x00\xff"])
def test_a_small_request_packed_in_one_step_is_the_same_bytes(
    key: str | bytes | None, remaining: float, *, idempotent: bool
) -> None:
    header = CallHeader(ns="kv", cmd="größe", key=key, remaining=remaining, idempotent=idempotent)
    packed = small_request(7, "kv", "größe", key, remaining, b"body", idempotent=idempotent)
    assert packed == frame(Kind.REQUEST, END, 7, header.to_bytes() + b"body")


@pytest.mark.parametrize(
    ("ns", "cmd", "key"),
    [("n" * 256, "", None), ("", "c" * 256, None), ("\ud800", "", None), ("", "", "\ud800"), ("", "", "k" * 1025)],
)
def test_a_small_request_has_the_bounds_of_any_other(ns: str, cmd: str, key: str | None) -> None:
    with pytest.raises(LocalProtocolError):
        small_request(1, ns, cmd, key, math.inf, b"", idempotent=False)


TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@pytest.mark.parametrize("traceparent", [None, TRACED, f"{TRACED}-more", "", "x", "ü" * 55, "ü" * 27 + "x", "x" * 128])
def test_a_small_request_in_a_trace_is_the_same_bytes_and_is_read_as_it_was(traceparent: str | None) -> None:
    header = CallHeader(ns="kv", cmd="put", key="k", traceparent=traceparent)
    packed = small_request(7, "kv", "put", "k", math.inf, b"body", idempotent=False, traceparent=traceparent)
    assert packed == frame(Kind.REQUEST, END, 7, header.to_bytes() + b"body")
    assert split_request(header.to_bytes() + b"body") == (header, b"body")


@pytest.mark.parametrize("traceparent", ["x" * 129, "\ud800"])
def test_a_small_request_has_the_bounds_of_any_other_for_its_trace(traceparent: str) -> None:
    with pytest.raises(LocalProtocolError):
        small_request(1, "kv", "put", "k", math.inf, b"", idempotent=False, traceparent=traceparent)


def test_an_extension_that_only_looks_like_that_of_a_trace_is_refused() -> None:
    whole = CallHeader(ns="kv", cmd="put", key="k", traceparent=TRACED).to_bytes()
    at = whole.index(TRACED.encode())
    with pytest.raises(RemoteProtocolError):
        split_request(whole[:at] + b"\xff" + whole[at + 1 :])


MOST = [f"{number:011}" for number in range(1_024)]


@pytest.mark.parametrize("names", [MOST, [f"{n:032}" + "ü" * 16 for n in range(187)] + ["x" * 32]])
def test_as_many_streams_as_a_call_may_have_fit_the_smallest_frame(names: list[str]) -> None:
    header = CallHeader(ns="n" * 255, cmd="c", streams=tuple(names), traceparent="x" * 128, fence=2**63 - 1)
    assert split_request(header.to_bytes() + b"body") == (header, b"body")
    assert len(header.to_bytes()) <= header_allowance(len(names))
    assert len(encode_offer(2**56 - 1, names)) <= 16 * 1024


@pytest.mark.parametrize(
    "names", [[*MOST, "x"], [f"{n:064}" for n in range(188)], [f"{n:032}" + "ü" * 16 for n in range(188)]]
)
def test_more_streams_than_that_are_refused_on_both_sides(names: list[str]) -> None:
    with pytest.raises(LocalProtocolError, match="stream"):
        CallHeader(cmd="c", streams=tuple(names)).to_bytes()
    fits = CallHeader(cmd="c", streams=("x",)).to_bytes()
    extension = encode([names, None, 0])
    forged = fits[:11] + len(extension).to_bytes(2, "big") + b"c" + extension
    with pytest.raises(RemoteProtocolError, match=r"at most 1024 streams|at most 12,000 bytes"):
        split_request(forged)
