"""``swimring dev``: a process per node, what they say in one terminal, and keys that break things."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import trio
from cyclopts import Parameter

from swimring.admin.fleet import open_fleet
from swimring.errors import ConfigError, MissingExtra

from .access import AsJson, Target
from .keyboard import open_keys
from .lines import Lines
from .stopping import INTERRUPTED, open_stopping

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence

    from swimring.admin.fleet import Child, Fleet

    from .stopping import Stopping

MOST: Final = 20
"""Nodes that find each other on one machine without settings: there are so many ports."""
_RELOAD: Final = (
    "When a Python file beside the target, or below this folder, changes, drain and restart a node at a time."
)
_HELP: Final = (
    "keys: 1-9 choose a node; k kill -9, d drain, p partition (it is frozen where it stands: SIGSTOP), h heal, "
    "a add one or start one again, q quit"
)


def dev(
    target: Target,
    /,
    *,
    nodes: Annotated[int, Parameter(name=("--nodes", "-n"), help="How many.")] = 3,
    cluster: Annotated[
        str | None, Parameter(help="The name of their cluster. Default: the name of the service.")
    ] = None,
    reload: Annotated[bool, Parameter(negative="", help=_RELOAD)] = False,
    log_level: Annotated[str, Parameter(help="What they log: debug, info, warning or error.")] = "info",
    as_json: AsJson = False,
) -> int:
    """Run ``nodes`` nodes until a signal or the key q; return the exit status.

    Raises:
        ConfigError: ``nodes`` is out of range, nothing of that kind can be loaded from ``target``, or what sees changes
            is not installed.
    """
    if not 1 <= nodes <= MOST:
        raise ConfigError("nodes", nodes, f"from 1 to {MOST}")
    if reload and importlib.util.find_spec("watchfiles") is None:
        raise MissingExtra("cli", "watchfiles")
    lines = Lines(widest=len(f"n{nodes}") + 1, as_json=as_json)
    return trio.run(_develop, target, nodes, _options(cluster, log_level), folder_of(target) if reload else None, lines)


def folder_of(target: str) -> Path:
    """Where the user's files are: beside FILE.py, or where they stand."""
    place = target.rpartition(":")[0]
    return Path(place).resolve().parent if place.endswith(".py") else Path.cwd()


def _options(cluster: str | None, log_level: str) -> list[str]:
    named = [] if cluster is None else ["--cluster", cluster]
    # A file of settings says how one node runs in earnest: several would want the same port.
    return ["--config", os.devnull, "--log-format", "human", "--log-level", log_level, *named]


async def _develop(target: str, nodes: int, options: Sequence[str], watched: Path | None, lines: Lines) -> int:
    environment = {name: value for name, value in lines.environment().items() if not name.startswith("SWIMRING_")}
    start = [sys.executable, "-m", "swimring", "run", target, "--supervised", *options]
    with open_stopping() as stopping:
        async with open_fleet(
            lambda label: [*start, "--name", label], hear=lines.hear, environment=environment
        ) as fleet:
            session = _Session(fleet, lines, stopping, target)
            async with trio.open_nursery() as nursery:
                session.nursery = nursery
                await session.run(nodes, watched)
                nursery.cancel_scope.cancel()
            return session.status
    return INTERRUPTED


class _Session:
    """One run: the nodes, and what the keys do to them."""

    nursery: trio.Nursery

    def __init__(self, fleet: Fleet, lines: Lines, stopping: Stopping, target: str) -> None:
        self.status = 0
        self._fleet = fleet
        self._lines = lines
        self._stopping = stopping
        self._target = target
        self._chosen = 1
        self._acts: dict[str, Callable[[], Awaitable[None]]] = {
            "k": self._kill, "d": self._drain, "p": self._freeze, "h": self._heal, "a": self._add, "q": self._quit,
        }  # fmt: skip

    async def run(self, nodes: int, watched: Path | None) -> None:
        """Start everything, stay until it is to end, and drain what is left."""
        loads = False
        with self._stopping.opening:  # a signal does not wait for a module that takes long
            loads = await self._loads()
        self._stopping.opened()
        if not loads:
            self.status = 0 if self._stopping.asked.is_set() else 2
            return
        for number in range(1, nodes + 1):
            await self._start(f"n{number}")
        if watched is not None:
            self.nursery.start_soon(self._reload_at_changes, watched, name="swimring dev reload")
        self.nursery.start_soon(self._obey, name="swimring dev keys")
        await self._stopping.asked.wait()
        if self._fleet.running:
            self._lines.say("all drain and leave; Ctrl-C once more does not wait")
        await self._fleet.drain()

    # ------------------------------------------------------------------------------------------------ the nodes

    async def _start(self, label: str) -> None:
        self.nursery.start_soon(self._follow, await self._fleet.start(label), name=f"swimring dev {label}")

    async def _follow(self, child: Child) -> None:
        await child.settled.wait()
        if child.facts is not None:
            self._lines.say_serving(child.label, child, child.facts, watched="dashboard at")
        await child.ended.wait()
        self._lines.say_ended(child, f"{child.label} has ended, {_how(child.status)}")
        if self._fleet.running or self._fleet.children[child.label] is not child:
            return
        if child.facts is None:  # none of them could start: there is nothing to wait for
            self.status = child.status or 1
            self._stopping.leave()
        elif not self._lines.in_terminal:
            self._stopping.leave()

    async def _loads(self) -> bool:
        """Whether the user's module can be loaded; if not, what Python says about it was shown."""
        check = [sys.executable, "-m", "swimring", "schema", self._target, "--json"]
        environment = {**os.environ, "SWIMRING_CONFIG": os.devnull}
        done = await trio.run_process(
            check, stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False, env=environment
        )
        for line in done.stderr.decode(errors="replace").splitlines():
            self._lines.hear("load", line)
        return done.returncode == 0

    # --------------------------------------------------------------------------------------------------- reload

    async def _reload_at_changes(self, folder: Path) -> None:
        self._lines.say(f"a change of a Python file in {folder} restarts the nodes, one at a time")
        with _stop_event() as stop:
            async with aclosing(_changes(folder, stop)) as changes:
                async for names in changes:
                    self._lines.say(f"changed: {', '.join(names)}")
                    await self._roll()

    async def _roll(self) -> None:
        if not await self._loads():
            self._lines.say("it does not load: the nodes go on with what they have")
            return
        for child in self._fleet.running:
            if child.frozen or child.ended.is_set():
                continue
            after = await self._fleet.restart(child.label)
            self.nursery.start_soon(self._follow, after, name=f"swimring dev {child.label}")
            if after.facts is None:
                self._lines.say(f"{child.label} did not start: the others go on with what they have")
                return
        self._lines.say("reloaded")

    # ----------------------------------------------------------------------------------------------------- keys

    async def _obey(self) -> None:
        with open_keys() as keys:
            if keys is None or not self._lines.in_terminal:
                return
            self._lines.say(_HELP)
            async for key in keys:
                if key.isdigit() and f"n{key}" in self._fleet.children:
                    self._chosen = int(key)
                    self._lines.say(f"n{key} is chosen")
                elif key in self._acts:
                    await self._acts[key]()
                else:
                    self._lines.say(_HELP)

    def _target_of(self, *, deed: str) -> Child | None:
        """The chosen node, or else the first that runs."""
        running = [child for child in self._fleet.running if not child.frozen]
        chosen = next((child for child in running if child.label == f"n{self._chosen}"), None)
        child = chosen or next(iter(running), None)
        self._lines.say("no node runs: a starts one" if child is None else f"{child.label} {deed}")
        return child

    async def _kill(self) -> None:
        child = self._target_of(deed="is killed: kill -9")
        if child is not None:
            child.kill()

    async def _drain(self) -> None:
        child = self._target_of(deed="hands over its keys and leaves")
        if child is not None:
            child.drain()

    async def _freeze(self) -> None:
        child = self._target_of(deed="is frozen: the others will take it for dead until h")
        if child is not None:
            child.freeze()

    async def _heal(self) -> None:
        frozen = [child for child in self._fleet.running if child.frozen]
        for child in frozen:
            child.thaw()
        names = ", ".join(child.label for child in frozen)
        self._lines.say(f"{names} goes on" if frozen else "nothing is frozen")

    async def _add(self) -> None:
        gone = (label for label, child in self._fleet.children.items() if child.ended.is_set())
        label = next(gone, f"n{len(self._fleet.children) + 1}")
        self._lines.say(f"{label} is started")
        await self._start(label)

    async def _quit(self) -> None:
        self._stopping.leave()


def _how(status: int | None) -> str:
    return f"killed by signal {-status}" if status is not None and status < 0 else f"status {status}"


async def _changes(folder: Path, stop: trio.Event) -> AsyncGenerator[list[str], None]:
    """The Python files below ``folder`` that changed, until ``stop``; what changes while nobody asks is told then."""
    from watchfiles import PythonFilter, awatch  # noqa: PLC0415 - only with --reload

    async for changes in awatch(folder, watch_filter=PythonFilter(), stop_event=stop, rust_timeout=500):
        yield sorted({str(Path(path).relative_to(folder)) for _, path in changes})


@contextmanager
def _stop_event() -> Iterator[trio.Event]:
    stop = trio.Event()
    try:
        yield stop
    finally:
        stop.set()
