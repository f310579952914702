"""The page that says which behaviours are tested where tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs" / "spec" / "conformance.md").read_text()


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (TESTS / path).read_text()]
    assert missing == []
    assert len(named) > 80


def test_every_test_of_these_folders_is_on_the_page() -> None:
    for path in sorted(Path(__file__).parent.glob("test_[!c]*.py")):
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), flags=re.MULTILINE):
            assert f"{path.name}::{name}" in PAGE
