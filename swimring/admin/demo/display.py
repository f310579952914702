"""What the demo shows: a progress bar while it runs, a table at the end."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
import trio_util
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from swimring.swim import MemberFailed, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rich.console import Console

    from swimring.node import Node

_REFRESH_EVERY = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the demo measured; times in seconds."""

    seconds: float
    files: int
    words: int
    distinct: int
    calls: int
    retries: int
    streamed_again: int
    killed: str
    killed_after: float
    noticed_after: float | None
    views: Mapping[str, str]
    equal: bool


class Display:
    """The progress bar: files, calls/s, members, and the moment of the kill."""

    def __init__(self, console: Console, node: Node, *, total: int) -> None:
        """Nothing is drawn before `shown`."""
        self._console = console
        self._node = node
        self._progress = Progress(
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("files {task.fields[rate]:.0f} calls/s"),
            TextColumn("{task.fields[members]}"),
            TextColumn("[red]{task.fields[event]}[/red]"),
            console=console,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("files", total=total, rate=0.0, members="", event="")
        self._started = trio.current_time()
        self._victim = ""
        self.killed_after = 0.0
        self.noticed_after: float | None = None

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Draw while the block runs."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notice)
            nursery.start_soon(self._refresh)
            with self._progress:
                yield
                self._update(rate=0.0)
            nursery.cancel_scope.cancel()

    def file_done(self) -> None:
        """One more file has been counted."""
        self._progress.advance(self._task)

    def more(self, files: int) -> None:
        """``files`` more have to be streamed, again."""
        total = self._progress.tasks[0].total or 0
        self._progress.update(self._task, total=total + files)

    def killed(self, name: str) -> None:
        """The node ``name`` has just been killed."""
        self._victim = name
        self.killed_after = trio.current_time() - self._started
        self._progress.update(self._task, event=f"kill -9 {_short(name)} at {self.killed_after:.1f}s")

    async def _notice(self) -> None:
        async with self._node.events() as events:
            async for event in events:
                if isinstance(event, MemberFailed) and event.member.name == self._victim:
                    self.noticed_after = trio.current_time() - self._started - self.killed_after

    async def _refresh(self) -> None:
        before = 0
        async for elapsed, delta in trio_util.periodic(_REFRESH_EVERY):
            del elapsed
            calls = await self._calls()
            self._update(rate=max(0, calls - before) / (delta or _REFRESH_EVERY))
            before = calls

    async def _calls(self) -> int:
        return self._node.counters()["calls"]

    def _update(self, *, rate: float) -> None:
        members = " ".join(
            f"{_short(member.name)}:{member.status.word}"
            for member in self._node.members
            if member.metadata.weight > 0 or member.status is not Status.ALIVE
        )
        self._progress.update(self._task, rate=rate, members=members)
        self._progress.refresh()


def _short(name: str) -> str:
    return name.rpartition("-")[2]


def print_result(console: Console, result: Result) -> None:
    """The table at the end."""
    table = Table(title="word count on a ring", show_header=False)
    table.add_row("time", f"{result.seconds:.1f} s")
    table.add_row("files", str(result.files))
    table.add_row("words", f"{result.words:,} ({result.distinct:,} distinct)")
    table.add_row("calls", f"{result.calls:,} by the driver and the nodes that live")
    table.add_row("retries", str(result.retries))
    noticed = "not seen" if result.noticed_after is None else f"noticed after {result.noticed_after:.2f} s"
    table.add_row("killed", f"{result.killed} at {result.killed_after:.1f} s, {noticed}")
    table.add_row("streamed again", f"{result.streamed_again} files")
    for name, view in result.views.items():
        table.add_row(f"members, by {name}", view)
    table.add_row("equal", "[green]yes[/green]" if result.equal else "[red]no[/red]")
    console.print(table)
    console.print(f"equal: {'yes' if result.equal else 'no'}")


def print_next(console: Console, cluster: str) -> None:
    """What to type while the ring is up."""
    console.print("\nThe ring stays up until Ctrl-C. In another terminal, with the same environment:")
    for line in (
        f"swimring members --cluster {cluster}",
        f"swimring lookup import --cluster {cluster}",
        f"swimring call swimring info --cluster {cluster}",
    ):
        console.print(f"  {line}", highlight=False)
