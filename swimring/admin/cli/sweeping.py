"""``swimring sim``: the sweep of the pytest plugin, with its options said shorter."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

from swimring.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence


def sweep(tests: Sequence[str], *, seeds: int, first: int, processes: int | None) -> int:
    """Run ``tests`` under many seeds; return the exit status of a command: 0, 1 if one failed, 2 if none could be run.

    Raises:
        ConfigError: a number is out of range, or there is no pytest.
    """
    if seeds < 1:
        raise ConfigError("seeds", seeds, "at least 1")
    if importlib.util.find_spec("pytest") is None:
        raise MissingExtra("test", "pytest")
    command = [sys.executable, "-m", "pytest", f"--swimring-seeds={seeds}", f"--swimring-seed={first}", *tests]
    if processes is not None:
        command.append(f"--swimring-processes={processes}")
    status = subprocess.run(command, check=False).returncode  # noqa: S603 - what the user typed, without a shell
    return {0: 0, 1: 1, 2: 130}.get(status, 2)
