"""``swimring members --watch``, ``ring``, ``tail`` and ``top``: a cluster as it changes."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import anyio
from cyclopts import Parameter
from rich.console import Console
from rich.live import Live

from swimring.builtin import NAMESPACE, describe
from swimring.errors import CallError, ConfigError, NotJoined

from .access import ANY, Access, AsJson, OfService
from .asking import COLUMNS, dial, member_rows, with_mesh
from .drawing import COLOURS, coloured, describe_ring, marks, share_rows, strip
from .happening import happened
from .output import make_table, print_json, print_table, print_text
from .plain import on_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swimring.client import Mesh
    from swimring.swim import Member

SORTS: Final = {"rate": "rate", "p99": "p99", "errors": "failed"}
_NARROW: Final = 78


def watch_members(*, access: Access, as_json: bool) -> None:
    """Show the members, and again whenever one changes, until Ctrl-C: a table in place, or a line of JSON each time."""

    async def ask(mesh: Mesh) -> None:
        seen = mesh.members
        console = Console()
        live = Live(console=console, auto_refresh=False, transient=False) if _lives(console, as_json) else None
        with live or nullcontext():
            while True:
                known = [describe(member) for member in seen]
                if as_json:
                    print_json(known)
                elif live is None:
                    print_table(COLUMNS, member_rows(known), title="")
                else:
                    live.update(make_table(COLUMNS, member_rows(known), title=f"cluster {mesh.cluster}"), refresh=True)
                seen = await mesh.wait_changed(seen)

    with_mesh(ask, access, endless=True)


def ring(
    service: OfService = None,
    /,
    *,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Draw the ring of ``service``."""

    async def ask(mesh: Mesh) -> None:
        found = mesh.ring(service)
        named = service or (mesh.services[0] if mesh.services else "")
        if as_json:
            print_json(describe_ring(found, service=named))
            return
        console = Console()
        columns = ("", "node", "weight", "share", "")
        print_table(columns, share_rows(found), title=f"{named}, ring {found.version}")
        colours = {letter: COLOURS[number % len(COLOURS)] for number, letter in enumerate(marks(found).values())}
        if len(found):
            letters = strip(found, width=console.width if console.is_terminal else _NARROW)
            console.print(coloured(letters, colours), soft_wrap=True)

    with_mesh(ask, access)


def tail(*, access: Access = ANY, as_json: AsJson = False) -> None:
    """Print what happens in the cluster, a line each, until Ctrl-C."""

    async def ask(mesh: Mesh) -> None:
        seen: tuple[Member, ...] = mesh.members
        if not as_json:
            names = ", ".join(member.name for member in seen if member.status.active)
            print_text(f"{_clock()} cluster {mesh.cluster} with {names}")
        while True:
            before, seen = seen, await mesh.wait_changed(seen)
            for one in happened(before, seen):
                if as_json:
                    at = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
                    print_json({"ts": at, "event": one.kind, "member": one.subject, "text": one.text})
                else:
                    print_text(f"{_clock()} {one.kind:9} {on_one_line(one.text)}")

    with_mesh(ask, access, endless=True)


def top(
    *,
    sort: Annotated[str, Parameter(help="By rate, p99 or errors.")] = "rate",
    every: Annotated[float, Parameter(help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, Parameter(negative="", help="Look once.")] = False,
    access: Access = ANY,
    as_json: AsJson = False,
) -> None:
    """Show what each handler does on all nodes, every so many seconds until Ctrl-C, or once.

    Raises:
        ConfigError: it cannot be sorted so, or the seconds are none.
    """
    if sort not in SORTS:
        raise ConfigError("sort", sort, f"use one of: {', '.join(SORTS)}")
    if not every > 0:
        raise ConfigError("every", every, "a number of seconds above 0")

    async def ask(mesh: Mesh) -> None:
        reports = _Reports(mesh, access)
        if once:
            await reports.gather()
            _print_top(reports, sort, as_json=as_json)
            return
        console = Console()
        live = Live(console=console, auto_refresh=False) if _lives(console, as_json) else None
        with live or nullcontext():
            while True:
                await reports.gather()
                if live is None:
                    _print_top(reports, sort, as_json=as_json)
                else:
                    live.update(make_table(_TOP, _top_rows(reports, sort), title=reports.title), refresh=True)
                await anyio.sleep(every)

    with_mesh(ask, access, endless=not once)


class _Reports:
    """What the nodes tell of their handlers; each is asked over a connection of its own."""

    def __init__(self, mesh: Mesh, access: Access) -> None:
        self.rows: list[dict[str, Any]] = []
        """Each handler over all nodes."""
        self.silent: list[str] = []
        """Who does not answer."""
        self._mesh = mesh
        self._access = access

    @property
    def title(self) -> str:
        told = f"cluster {self._mesh.cluster}"
        return f"{told}; no answer from {', '.join(self.silent)}" if self.silent else told

    async def gather(self) -> None:
        """Ask everybody."""
        from swimring.admin.http import handlers_of  # noqa: PLC0415 - only here; it imports the server

        members = [member for member in self._mesh.members if member.status.active]
        told: dict[str, dict[str, Any]] = {}
        with anyio.move_on_after(self._access.within):
            async with anyio.create_task_group() as tasks:
                for member in members:
                    tasks.start_soon(self._ask, member, told)
        self.silent = [member.name for member in members if member.name not in told]
        self.rows = handlers_of(told.values())

    async def _ask(self, member: Member, told: dict[str, dict[str, Any]]) -> None:
        message = {"ns": NAMESPACE, "cmd": "statistics", "about": ["traffic"]}
        try:
            async with dial(self._access, member, cluster=self._mesh.cluster) as mesh:
                told[member.name] = await mesh.request(message, idempotent=True)
        except (CallError, ConfigError, NotJoined):
            return  # it is among the silent


_TOP: Final = ("handler", "calls/s", "p50", "p99", "failed", "cancelled", "retried", "on")


def _print_top(reports: _Reports, sort: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"handlers": _sorted(reports.rows, sort), "silent": reports.silent})
    else:
        print_table(_TOP, _top_rows(reports, sort), title=reports.title)


def _top_rows(reports: _Reports, sort: str) -> list[tuple[str, ...]]:
    return [
        (
            f"{row['ns']}.{row['cmd']}", f"{row['rate']:.1f}", _duration(row["p50"]), _duration(row["p99"]),
            str(row["failed"]), str(row["cancelled"]), str(row["retried"]), ", ".join(sorted(row["on"])),
        )
        for row in _sorted(reports.rows, sort)
    ]  # fmt: skip


def _sorted(rows: Sequence[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -(row[SORTS[sort]] or 0.0))


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.3g} ms"


def _lives(console: Console, as_json: bool) -> bool:  # noqa: FBT001 - the caller's own
    return console.is_terminal and not as_json


def _clock() -> str:
    return datetime.now(tz=UTC).astimezone().strftime("%H:%M:%S")
