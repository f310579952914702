"""examples/carts: its tests pass on the repaired shop and find the bug of the naive one, under a few seeds here.

`nox -s chaos` runs them under hundreds, `nox -s chaos -- --swimring-real` on processes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGIN = [] if "swimring" in entry_points(group="pytest11").names else ["-p", "swimring.testing.plugin"]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *PLUGIN, *arguments],
        cwd=ROOT / "examples" / "carts",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_repaired_shop_loses_nothing() -> None:
    assert "3 passed" in run()


def test_the_naive_shop_loses_items_and_the_failure_says_under_which_seed_and_what_was_done() -> None:
    out = run("test_carts.py", "--naive", "--swimring-seed", "3")
    assert re.search(r"AssertionError: <Load: .* acknowledged.* lost>: \[", out)
    assert "pytest 'test_carts.py::test_a_bad_minute_loses_nothing' --naive --swimring-seed 3\n" in out
    assert re.search(r"partition n1 n2 \| n3 n4 n5\n", out)
