"""What goes to stdout: for people with colours and a table, for a pipe without, for programs as JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swimring.codec import json_form

from .plain import on_one_line, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLES = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "dim"}
_UNBOUNDED = 10_000


def print_json(value: object) -> None:
    """Print ``value`` as JSON: indented and coloured in a terminal, in one line elsewhere."""
    ready = json_form(value)
    if sys.stdout.isatty():
        Console().print_json(json.dumps(ready))
    else:
        print_text(json.dumps(ready, ensure_ascii=False))


def print_text(text: str) -> None:
    """Print ``text`` as it is, without markup or broken lines; in a terminal control characters are escapes."""
    if sys.stdout.isatty():
        Console().print(Text(visible(text)), soft_wrap=True)
    else:  # a thousand times as fast, which matters where each item of many is a line
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str) -> None:
    """Print a table; into a pipe without frame and title, no cell cut short. Words that are a status are coloured."""
    console = Console()
    if console.is_terminal:
        console.print(make_table(columns, rows, title=title))
    else:
        table = Table(*columns, box=None, pad_edge=False)
        _fill(table, rows)
        Console(width=_UNBOUNDED).print(table)


def make_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str) -> Table:
    """A table for a terminal. Words that are a status are coloured."""
    table = Table(*columns, title=title)
    _fill(table, rows)
    return table


def _fill(table: Table, rows: Iterable[Sequence[str]]) -> None:
    for row in rows:
        table.add_row(*(Text(on_one_line(cell), style=_STYLES.get(cell, "")) for cell in row))
