"""Each promise of the page about guarantees names its test, and there is one of that name."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concepts" / "guarantees.md").read_text()


def test_each_promise_names_a_test_that_exists() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "simulation").glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", PAGE)
    assert len(named) >= 10
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_each_row_of_promises_names_its_test_or_that_of_the_row_above() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what happens")]
    assert [row for row in rows if "`test_" not in row and not row.endswith("| the same |")] == []
