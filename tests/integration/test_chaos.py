"""The short forms of the chaos runs: real processes under load, stopped, killed and frozen; nothing may be lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from .processes import environment

ROOT = Path(__file__).parents[2]


async def run(name: str, *options: str) -> tuple[int, dict[str, Any]]:
    """One run: its exit status, and what it found."""
    with trio.fail_after(150):
        done = await trio.run_process(
            [sys.executable, "-m", "tests.chaos", name, "--quick", "--json", *options],
            capture_stdout=True,
            check=False,
            env=environment(),
            cwd=ROOT,
        )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("name", ["rolling", "kill"])
async def test_nothing_that_was_acknowledged_is_lost_and_no_call_fails_that_may_be_repeated(name: str) -> None:
    status, found = await run(name)
    assert found["broken"] == []
    assert status == 0
    assert found["figures"]["calls"] > 100
    if name == "rolling":
        assert found["figures"]["answered"] == found["figures"]["calls"]
