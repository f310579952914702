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
    from cyclopts import App

    Shell = Literal["bash", "zsh", "fish"]

SHELLS: Final = ("bash", "zsh", "fish")
_SOURCED: Final = {"zsh": "\n(( $+functions[compdef] )) && compdef _cyclopts_swimring swimring\n"}
"""What has to follow where a script is sourced, and not found by its name."""


_STARTED: Final = {"bash", "zsh"}
"""Those whose start-up file has to load it; fish looks for it by itself."""


def completion(
    shell: Annotated[str | None, Parameter(help="bash, zsh or fish. Default: that of the variable SHELL.")] = None,
    /,
    *,
    install: Annotated[
        bool,
        Parameter(
            negative="",
            help="Write it to where that shell looks for it, and to .bashrc or .zshrc the lines that load it, instead "
            "of printing it.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the script, or install it.

    Raises:
        ConfigError: there is none for that shell, or it cannot be written there.
    """
    from .commands import app  # noqa: PLC0415 - it is the list that this command is on

    named = shell or Path(os.environ.get("SHELL", "")).name
    if named not in SHELLS:
        raise ConfigError("shell", named or None, f"use one of: {', '.join(SHELLS)}")
    known = cast("Shell", named)
    told: dict[str, Any] = {"shell": named}
    if install:
        told["file"] = file = _install(app, known)
        loaded = f", and to .{named}rc how it is loaded" if named in _STARTED else ""
        said = f"written to {file}{loaded}: open a new shell"
    else:
        told["script"] = said = app.generate_completion(shell=known) + _SOURCED.get(named, "")
    if as_json:
        print_json(told)
    else:
        print_text(said)


def _install(app: App, shell: Shell) -> str:
    """Write it for ``shell``; the file it is in then."""
    try:
        return str(app.install_completion(shell=shell))
    except OSError as error:
        raise ConfigError("install", error.filename, f"cannot be written: {error.strerror or error}") from error
