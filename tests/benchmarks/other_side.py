"""The other side of a benchmark: the same program in a process of its own, told by a word to serve."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def other_side(module: str, word: str = "serve") -> Iterator[str]:
    """Run ``module`` of this folder with ``word`` until the block ends; the first line that it says."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", word]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()
