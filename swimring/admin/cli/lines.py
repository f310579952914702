"""What happens in a fleet, line by line: what its processes say, each with its name and colour, and what is done.

With ``--json`` a line is ``{"event": "said", "node": …, "line": …}``, or another event with what is known of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from .output import print_json

if TYPE_CHECKING:
    from swimring.admin.fleet import Child, Facts

_COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "red")
_PIPED: Final = 120
"""Columns of what the processes say where there is no terminal."""


class Lines:
    """Writes to stdout, in a terminal with colours."""

    def __init__(self, *, widest: int, as_json: bool = False) -> None:
        """No name is longer than ``widest``."""
        self._console = Console()
        self._as_json = as_json
        self._widest = widest
        self._colours: dict[str, str] = {}

    @property
    def in_terminal(self) -> bool:
        """Whether people read it as it comes."""
        return self._console.is_terminal and not self._as_json

    def environment(self) -> dict[str, str]:
        """The environment of a process that says such lines."""
        room = (self._console.width if self.in_terminal else _PIPED) - self._widest - 3
        colours = {"FORCE_COLOR": "1"} if self.in_terminal and self._console.color_system else {}
        return {**os.environ, "COLUMNS": str(max(room, 40)), "PYTHONUNBUFFERED": "1", **colours}

    def hear(self, label: str, line: str) -> None:
        """Write what ``label`` said."""
        if self._as_json:
            print_json({"event": "said", "node": label, "line": Text.from_ansi(line.rstrip()).plain})
            return
        colour = self._colours.setdefault(label, _COLOURS[len(self._colours) % len(_COLOURS)])
        said = Text(f"{label:{self._widest}} | ", style=colour)
        self._console.print(said + Text.from_ansi(line.rstrip()), soft_wrap=True)

    def say(self, text: str, *, event: str = "note", **facts: Any) -> None:
        """Write a line of our own; for programs the ``event``, and what is known of it."""
        if self._as_json:
            print_json({"event": event, **facts, "text": text})
        else:
            self._console.print(Text(f"{'':{self._widest}} * {text}", style="bold"), soft_wrap=True)

    def say_serving(self, label: str, child: Child, facts: Facts, *, watched: str) -> None:
        """Write where a node serves; ``watched`` says what there is to be seen at its address of that kind."""
        text = (
            f"{label} serves at {facts.address}, process {child.pid}{f', {watched} {facts.url}' if facts.url else ''}"
        )
        self.say(
            text, event="serves", node=child.label, name=facts.name, address=facts.address, url=facts.url, pid=child.pid
        )

    def say_ended(self, child: Child, text: str) -> None:
        """Write that a process has ended."""
        self.say(text, event="ended", node=child.label, status=child.status)
