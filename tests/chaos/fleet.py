"""Nodes in processes of their own, started as a user starts them, and ended by signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ROOT = Path(__file__).parents[2]
LEAVES_WITHIN = 60.0
"""Seconds after which a node that was told to leave counts as stuck."""


class Broken(Exception):
    """A run has shown that something is not as it should be."""


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Every error of a group of groups."""
    return [
        leaf
        for error in group.exceptions
        for leaf in (leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


class Member:
    """One node over all its lives."""

    def __init__(self, name: str, address: str, command: Sequence[str], log: Path, env: dict[str, str]) -> None:
        self.name = name
        self.address = address
        self.log = log
        self._command = command
        self._env = env
        self.process: trio.Process | None = None

    async def start(self) -> None:
        """Begin the next life."""
        with self.log.open("ab") as log:
            self.process = await trio.lowlevel.open_process(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, cwd=ROOT
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.wait_ended()

    async def leave(self, *, within: float = LEAVES_WITHIN) -> None:
        """SIGTERM, and wait for the end."""
        self.signal(signal.SIGTERM)
        with trio.move_on_after(within):
            if (status := await self.wait_ended()) != 0:
                raise Broken(f"{self.name} left with status {status}: {self.last_words()}")
            return
        raise Broken(f"{self.name} has not left within {within:.0f} s: {self.last_words()}")

    async def wait_ended(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


class Fleet:
    """All nodes of one run."""

    def __init__(self, cluster: str, target: str, folder: Path, *, options: Sequence[str], env: dict[str, str]) -> None:
        self.cluster = cluster
        self.members: dict[str, Member] = {}
        self._target = target
        self._folder = folder
        self._options = options
        self._env = {**environment(), **env}

    @property
    def addresses(self) -> list[str]:
        return [member.address for member in self.members.values()]

    def plan(self, addresses: Sequence[str], *, prefix: Sequence[str] = (), more: Sequence[str] = ()) -> list[Member]:
        """More members at these addresses, not started yet; ``prefix`` is what their commands are run by."""
        planned = []
        for address in addresses:
            name = f"n{len(self.members) + 1}"
            joins = [part for one in (self.addresses or addresses) for part in ("--join", one)]
            command = [*prefix, sys.executable, "-m", "swimring", "run", self._target, "--name", name]
            command += ["--cluster", self.cluster, "--listen", address, *joins, "--admin", "off"]
            command += ["--log-level", "warning", *self._options, *more]
            planned.append(Member(name, address, command, self._folder / f"{name}.log", self._env))
            self.members[name] = planned[-1]
        return planned

    def complaints(self) -> dict[str, int]:
        """How often each node wrote a traceback."""
        counts = {name: one.log.read_text(errors="replace").count("Traceback") for name, one in self.members.items()}
        return {name: count for name, count in counts.items() if count}


@asynccontextmanager
async def open_fleet(
    cluster: str, target: str, folder: Path, *, options: Sequence[str] = (), env: dict[str, str] | None = None
) -> AsyncIterator[Fleet]:
    """A fleet without nodes; whatever of it runs at the end of the block is killed."""
    fleet = Fleet(cluster, target, folder, options=options, env=env or {})
    try:
        yield fleet
    finally:
        with trio.CancelScope(shield=True):
            for member in fleet.members.values():
                if member.process is not None and member.process.returncode is None:
                    await member.kill()


def free_addresses(count: int) -> list[str]:
    """Loopback addresses whose ports were free a moment ago, for datagrams and streams."""
    taken = []
    addresses: list[str] = []
    while len(addresses) < count:
        stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        taken += [stream, datagrams]
        stream.bind(("127.0.0.1", 0))
        try:
            datagrams.bind(stream.getsockname())
        except OSError:
            continue
        addresses.append(f"127.0.0.1:{stream.getsockname()[1]}")
    for one in taken:
        one.close()
    return addresses


def environment() -> dict[str, str]:
    """This process's, with the modules it finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
