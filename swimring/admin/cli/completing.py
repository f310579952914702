"""``swimring completion``: what teaches a shell the commands, their options, and the names of the nodes that run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

from cyclopts import Parameter

from swimring.errors import ConfigError

from .access import AsJson
from .output import print_json, print_text

if TYPE_CHECKING:
    Shell = Literal["bash", "zsh", "fish"]

SHELLS: Final = ("bash", "zsh", "fish")


def completion(
    shell: Annotated[str | None, Parameter(help="bash, zsh or fish. Default: that of the variable SHELL.")] = None,
    /,
    *,
    install: Annotated[
        bool, Parameter(negative="", help="Write it to where that shell looks for it, instead of printing it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the script, or install it.

    Raises:
        ConfigError: there is none for that shell.
    """
    from .commands import app  # noqa: PLC0415 - it is the list that this command is on

    named = shell or Path(os.environ.get("SHELL", "")).name
    if named not in SHELLS:
        raise ConfigError("shell", named or None, f"use one of: {', '.join(SHELLS)}")
    known = cast("Shell", named)
    told: dict[str, Any] = {"shell": named}
    if install:
        told["file"] = str(app.install_completion(shell=known))
        said = f"written to {told['file']}: open a new shell"
    else:
        told["script"] = said = app.generate_completion(shell=known)
    if as_json:
        print_json(told)
    else:
        print_text(said)
