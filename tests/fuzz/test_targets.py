"""Each target under Hypothesis: bytes of no meaning, and frames that look right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples

from .targets import GREETING, TARGETS
from .test_fuzz_mux import frames

if TYPE_CHECKING:
    from collections.abc import Callable

first = st.sampled_from([b"", GREETING])
conversations = st.tuples(st.binary(min_size=1, max_size=1), first, st.lists(frames, max_size=12).map(b"".join)).map(
    b"".join
)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_only_protocol_errors_escape_and_little_is_kept(target: Callable[[bytes], None]) -> None:
    @examples(80)
    @given(st.binary(max_size=300) | conversations)
    def run(data: bytes) -> None:
        target(data)

    run()
