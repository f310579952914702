"""All commands, as the parser knows them; a command that is added is in here by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimring.admin.cli.commands import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App


def _below(group: App, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in group:
        if not name.startswith("-"):
            command = group[name]
            below = list(_below(command, (*path, name)))
            yield from below or [((*path, name), command)]


COMMANDS = {" ".join(path): command for path, command in _below(app, ())}
NEEDED = {
    "run": ["examples/hello.py:app"], "dev": ["examples/hello.py:app"], "lookup": ["k"], "trace": ["k"],
    "call": ["hello", "greet"], "drain": ["a"], "cordon": ["a"], "uncordon": ["a"], "evict": ["a"],
    "schema": ["examples/hello.py:app"], "new": ["hello"], "keys use": ["12345678"], "keys remove": ["12345678"],
    "keys add": ["FILE"],
}  # fmt: skip
"""What has to be said to them, at least."""


def options_of(name: str) -> dict[str, str]:
    """The options of a command, each with what its help says; those that are not shown are not told."""
    found = COMMANDS[name].assemble_argument_collection(parse_docstring=True)
    return {
        argument.name: str(argument.parameter.help or "")
        for argument in found
        if not argument.children and argument.show
    }


ASKING = [name for name in COMMANDS if "--within" in options_of(name)]
"""Those that talk to a cluster."""
