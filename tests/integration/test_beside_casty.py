"""casty is killed beside us where it can be had, and its calls are judged by the same books."""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING

from tests.chaos.beside_casty import Casty, beside, find_casty
from tests.chaos.records import Book, arrivals
from tests.chaos.runs import Found, Plan

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_without_the_python_that_casty_needs_the_reason_is_told_and_nothing_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    folder = tmp_path / "peers"
    assert find_casty(folder).missing == "there is no Python 3.12 in PATH or pyenv"
    assert not folder.exists()


def test_when_casty_cannot_be_installed_the_last_word_of_the_installer_is_told(tmp_path: Path) -> None:
    python = tmp_path / "python-3.12" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho ERROR: no casty here >&2\nexit 1\n")
    python.chmod(0o755)
    assert find_casty(tmp_path).missing == "ERROR: no casty here"


async def test_where_casty_is_missing_ours_is_measured_alone_and_the_run_says_so(tmp_path: Path) -> None:
    async def ours(plan: Plan) -> Found:
        return Found(name="kill", figures={"kills": plan.victims})

    found = await beside(ours, Casty(python=tmp_path, missing="it rains"), Plan(victims=2))
    assert found.figures == {"kills": 2}
    assert found.beside == {"said": ["casty is not measured: it rains"]}
    assert found.broken == []


def test_the_same_seed_makes_the_same_calls() -> None:
    first, second = (list(islice(arrivals(random.Random(7), 100, 50.0, 0.5), 200)) for _ in range(2))
    assert first == second
    assert 60 < sum(idempotent for _, _, idempotent in first) < 140


def test_a_counter_may_count_what_may_have_run_and_no_more_and_never_less_than_was_acknowledged() -> None:
    book = Book()
    book.began["k"], book.acknowledged["k"] = 5, 3
    book.fail("k", "Unavailable maybe")
    book.fail("k", "late")
    assert [book.complaint("k", value, exact=False) is None for value in range(2, 7)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert book.complaint("k", 4, exact=True) == "k: 4, not 3 to 3"
    book.fail("k", "Unavailable refused")
    assert (book.maybe["k"], book.refused["k"]) == (2, 1)
