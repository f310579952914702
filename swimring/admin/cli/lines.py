"""What the processes of a fleet say, line by line, each with the name of who said it, in a colour of its own."""

from __future__ import annotations

import os
from typing import Final

from rich.console import Console
from rich.text import Text

_COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "red")
_PIPED: Final = 120
"""Columns of what the processes say where there is no terminal."""


class Lines:
    """Writes to stdout, in a terminal with colours."""

    def __init__(self, *, widest: int) -> None:
        """No name is longer than ``widest``."""
        self._console = Console()
        self._widest = widest
        self._colours: dict[str, str] = {}

    @property
    def in_terminal(self) -> bool:
        """Whether people read it as it comes."""
        return self._console.is_terminal

    def environment(self) -> dict[str, str]:
        """The environment of a process that says such lines."""
        room = (self._console.width if self.in_terminal else _PIPED) - self._widest - 3
        colours = {"FORCE_COLOR": "1"} if self.in_terminal and self._console.color_system else {}
        return {**os.environ, "COLUMNS": str(max(room, 40)), "PYTHONUNBUFFERED": "1", **colours}

    def hear(self, label: str, line: str) -> None:
        """Write what ``label`` said."""
        colour = self._colours.setdefault(label, _COLOURS[len(self._colours) % len(_COLOURS)])
        said = Text(f"{label:{self._widest}} | ", style=colour)
        self._console.print(said + Text.from_ansi(line.rstrip()), soft_wrap=True)

    def say(self, text: str) -> None:
        """Write a line of our own."""
        self._console.print(Text(f"{'':{self._widest}} * {text}", style="bold"), soft_wrap=True)
