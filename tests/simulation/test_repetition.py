"""A seed repeats everything: every delivery, every write, every answer and every dice, in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swimring.testing import run_simulation

from .everything import scenario

_PROGRAM = """
import sys
from tests.simulation.everything import scenario
from swimring.testing import run_simulation
seed = int(sys.argv[1])
print(run_simulation(scenario, seed, seed=seed))
"""


def in_another_process(seed: int, *, hash_seed: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(seed)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."},
    )
    return finished.stdout.strip()


@pytest.mark.costly
def test_a_seed_repeats_all_faults_disks_clocks_and_load_in_every_process(seed: int) -> None:
    here = run_simulation(scenario, seed, seed=seed)
    for hash_seed in ("1", "2"):
        assert in_another_process(seed, hash_seed=hash_seed) == here
