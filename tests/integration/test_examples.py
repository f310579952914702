"""The numbered examples run, and show what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def shown(example: str, *arguments: str) -> list[str]:
    """What an example prints, line by line."""
    done = subprocess.run(
        [sys.executable, f"examples/{example}", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_an_example_yields_talks_and_hands_streams_over() -> None:
    assert shown("01_streams.py", "--every", "0.01") == [
        "tick 0 from right",
        "tick 1 from right",
        "tick 2 from right",
        "   the clock on right has stopped after 3 ticks",
        "that call was cancelled",
        "ring is gnir",
        "swim is miws",
        "2 words",
        "3 days: [0, 1, 2]",
    ]


def test_a_room_and_who_listens_to_it_follow_the_ring() -> None:
    assert shown("chat_room.py") == ["ada: hello", "bob: this node leaves now", "ada: still here"]


def test_an_owner_that_was_replaced_writes_nothing() -> None:
    assert shown("fenced_table.py") == ["right: 10", "left: 15", "right, too late: refused", "left: 16"]
