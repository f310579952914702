"""``swimring demo``: its options."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from swimring.admin.demo import run_demo

from .access import AsJson


def demo(
    *,
    files: Annotated[int | None, Parameter(help="Count only this many files. Default: all of them.")] = None,
    keep_running: Annotated[
        bool, Parameter(negative="", help="Leave the ring up when done, until Ctrl-C, and say what to type next.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Run the demo; return the exit status."""
    return run_demo(files=files, keep_running=keep_running, as_json=as_json)
