"""Names of tests with parameters: the same in every process, so that several can share the tests between them."""

from __future__ import annotations

import re


def named(value: object) -> str:
    """The ``repr`` of a parameter without addresses in memory."""
    return re.sub(r"( object)? at 0x[0-9a-f]+", "", repr(value))
