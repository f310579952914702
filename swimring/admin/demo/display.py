"""What the demo shows: a progress bar while it runs, a table at the end."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trio_util
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from swimring.errors import CallError
from swimring.swim import MemberFailed, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rich.console import Console

    from swimring.node import Node
    from swimring.service import Service

_REFRESH_EVERY = 0.2
_SHOWN_DIFFERENCES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the demo measured; times in seconds. Calls and retries are those of the driver and the nodes that live."""

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
    """What each node that lives says of the members."""
    differences: Mapping[str, tuple[int, int]]
    """Words that the ring counted otherwise than a single process: both numbers."""

    @property
    def equal(self) -> bool:
        """Whether the ring counted what a single process counts, to the last word."""
        return not self.differences

    @property
    def exit_status(self) -> int:
        """0 only if `equal`."""
        return 0 if self.equal else 1


class Display:
    """The progress bar: files, calls/s, members, and the moment of the kill."""

    def __init__(self, console: Console, node: Node, service: Service, *, total: int) -> None:
        """Nothing is drawn before `shown`; ``service`` is what the nodes offer, ``total`` the number of files."""
        self._service = service
        self._asked = 0
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
        before: dict[str, int] = {}
        async for _, delta in trio_util.periodic(_REFRESH_EVERY):
            calls = await self._calls()
            # A node that died in between takes its count with it: only those that are there both times tell a rate.
            made = sum(number - before[name] for name, number in calls.items() if name in before)
            self._update(rate=made / (delta or _REFRESH_EVERY))
            before = calls

    async def _calls(self) -> dict[str, int]:
        """Calls made so far by the driver and by each node, without those that ask for this."""
        self._asked += len(self._owners())
        calls = {self._node.name: self._node.counters()["calls"] - self._asked}
        for name in self._owners():
            try:
                with trio.move_on_after(_REFRESH_EVERY):
                    info = await self._node.peer(name).request({"ns": "swimring", "cmd": "info"})
                    calls[name] = info["counters"]["calls"]
            except CallError:
                continue  # it is being killed
        return calls

    def _owners(self) -> list[str]:
        return sorted(self._node.ring(self._service).nodes)

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
    for word, (ring, alone) in list(result.differences.items())[:_SHOWN_DIFFERENCES]:
        console.print(f"{word}: {ring} on the ring, {alone} in a single process", markup=False)
    console.print(f"equal: {'yes' if result.equal else 'no'}")


def print_result_json(result: Result) -> None:
    """The same, as one line for programs."""
    sys.stdout.write(json.dumps({**asdict(result), "equal": result.equal}) + "\n")
    sys.stdout.flush()


def print_next(console: Console, cluster: str) -> None:
    """What to type while the ring is up; with the whole path, since another terminal may not have this environment."""
    command = Path(sys.executable).with_name("swimring")
    console.print("\nThe ring stays up until Ctrl-C. In another terminal:")
    for line in (
        f"{command} members --cluster {cluster}",
        f"{command} lookup import --cluster {cluster}",
        f"{command} call swimring info --cluster {cluster}",
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True)
