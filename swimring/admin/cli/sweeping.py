"""``swimring sim``: the sweep of the pytest plugin, with its options said shorter."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Annotated

from cyclopts import Parameter

from swimring.errors import ConfigError, MissingExtra

from .access import AsJson
from .output import print_json


def sim(
    *tests: Annotated[
        str, Parameter(help="Files, folders or options for pytest after --. Default: those of this folder.")
    ],
    seeds: Annotated[int, Parameter(help="How many.")] = 100,
    first: Annotated[int, Parameter(help="The first of them.")] = 0,
    processes: Annotated[int | None, Parameter(help="How many at once. Default: one for each processor.")] = None,
    as_json: AsJson = False,
) -> int:
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
    said = sys.stderr if as_json else None
    ended = subprocess.run(command, check=False, stdout=said).returncode  # noqa: S603 - what the user typed, without a shell
    status = ended if ended in {0, 1} else 2  # 2 of pytest is a file that cannot be imported; a Ctrl-C ends us as well
    if as_json:
        print_json({"passed": status == 0, "seeds": seeds, "first": first, "status": status})
    return status
