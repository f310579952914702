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
    assert "3 passed" in run("test_carts.py", "test_moves.py")


def test_the_naive_shop_loses_items_within_200_seeds_and_the_failure_says_under_which_and_what_was_done() -> None:
    out = run("test_carts.py", "--naive", "--swimring-seeds", "200")
    assert re.search(r"AssertionError: <Load: .* acknowledged.* lost>: \[", out)
    command = r"pytest 'test_carts.py::test_a_bad_minute_loses_nothing' --naive --swimring-seed (\d+)\n"
    found = re.search(command, out)
    assert found
    assert int(found[1]) < 200
    assert re.search(r"partition n1 n2 \| n3 n4 n5\n", out)
    assert "is not on loopback" not in out


def test_the_bug_shows_within_200_seeds_without_any_fault_when_a_node_joins() -> None:
    out = run("test_moves.py", "--naive", "--swimring-seeds", "200", "-k", "new_nodes")
    assert re.search(r"AssertionError: <Load: .* lost>: \[", out)
