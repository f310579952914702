"""The routing header, at its edges."""

from __future__ import annotations

import math

import pytest

from swimring.mux import CallHeader
from swimring.mux.header import split_request


@pytest.mark.parametrize("remaining", [0.0, -1.0, -math.inf])
def test_a_deadline_that_has_passed_travels_as_nothing_left(remaining: float) -> None:
    header, _body = split_request(CallHeader(cmd="c", remaining=remaining).to_bytes())
    assert header.remaining == 0
