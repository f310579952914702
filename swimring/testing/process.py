"""One node of a cluster of real processes: started, killed, stopped, drained and started again by signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator  # noqa: TC003 - annotations of endpoints are evaluated
from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio

from swimring.errors import CallError, ConfigError
from swimring.ring import MAX_WEIGHT, HashRing, ring_seed
from swimring.service import Request, Service
from swimring.swim import Member, Status

from .impossible import Impossible

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.node import Node

    from .child import ChildSetup
    from .real import RealCluster

_KEPT_LINES: Final = 200
_DIAL_AGAIN_AFTER: Final = 0.1
_nodes: Final = Service("swimring")


@_nodes.on("follow", idempotent=True)
async def _follow(request: Request) -> AsyncIterator[Any]:  # noqa: ARG001 - the handler is elsewhere
    """What every node answers: everybody it knows of, then what changes."""
    raise NotImplementedError
    yield


class RealNode(Impossible):
    """One node over all its lives, each a process."""

    def __init__(self, cluster: RealCluster, name: str, setup: Callable[[], ChildSetup]) -> None:
        """Made by `RealCluster.start`; ``setup`` says what the next life is told."""
        self.name = name
        self.said: deque[str] = deque(maxlen=_KEPT_LINES)
        """The last 200 lines that its lives wrote to stdout and stderr."""
        self._cluster = cluster
        self._setup = setup
        self._process: trio.Process | None = None
        self._paused = self._ends = False
        self._over = trio.Event()
        self._seen: dict[str, Member] = {}
        self._points = 0

    def __repr__(self) -> str:
        return f"<RealNode {self.name}, {'paused' if self.paused else 'running' if self.running else 'down'}>"

    @property
    def running(self) -> bool:
        """Whether its process runs and takes part."""
        return self._process is not None and not self._ends

    @property
    def paused(self) -> bool:
        """Whether its process runs, but is stopped."""
        return self._paused and self.running

    @property
    def pid(self) -> int:
        """The process of the current life.

        Raises:
            ConfigError: it is not running.
        """
        return self._alive().pid

    @property
    def node(self) -> Node:
        """A node of the test's own process to call from: this one is in another process.

        Raises:
            ConfigError: this node is not running.
        """
        self._alive()
        return self._cluster.observer.node

    # ------------------------------------------------------------------------------------------ what is done to it

    def crash(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL, f"{self.name} killed")

    def pause(self) -> None:
        """SIGSTOP; nothing happens if it is stopped already."""
        process = self._alive()
        if not self._paused:
            self._paused = True
            process.send_signal(signal.SIGSTOP)
            self._cluster.happened(f"pause {self.name}")

    def resume(self) -> None:
        """SIGCONT; nothing happens if it is not stopped."""
        if self.paused:
            self._paused = False
            self._alive().send_signal(signal.SIGCONT)
            self._cluster.happened(f"resume {self.name}")

    async def drain(self) -> None:
        """SIGTERM; return when the process has ended."""
        self._end(signal.SIGTERM, f"drain {self.name}")
        await self._over.wait()

    async def restart(self, *, data: bool = True) -> Node:
        """Start the next life of a node that is down, under its old name; return when it has joined.

        Args:
            data: whether it finds what is in its directory.

        Raises:
            ConfigError: it is running.
        """
        if self.running:
            raise ConfigError("node", self.name, "this node is running: crash it first, or let it leave")
        await self._over.wait()
        if not data:
            shutil.rmtree(self._cluster.place / self.name, ignore_errors=True)
        self._cluster.happened(f"restart {self.name}{'' if data else ' without its data'}")
        await self._cluster.launch(self)
        return self.node

    def _end(self, by: signal.Signals, text: str) -> None:
        process = self._alive()
        self._ends, self._paused = True, False
        process.send_signal(by)
        self._cluster.happened(text)

    def _alive(self) -> trio.Process:
        if self._process is None or self._ends:
            raise ConfigError("node", self.name, "this node is not running")
        return self._process

    # --------------------------------------------------------------------------------------------------- its life

    async def live(self, *, task_status: trio.TaskStatus[None]) -> None:
        """One life, from start to end; whatever happens, the process does not outlive it."""
        self._over, self._ends, self._seen = trio.Event(), False, {}
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", "from swimring.testing.child import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # so the kernel ends those that are stopped, too, if the test run is killed
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        try:
            status = await self._attend(process, task_status)
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
                for pipe in (process.stdin, process.stdout, process.stderr):
                    assert pipe is not None
                    await pipe.aclose()
            self._process = None
            self._over.set()
            self._cluster.changed()
        if not self._ends or status not in (0, -signal.SIGKILL):
            self._fail(status)

    async def _attend(self, process: trio.Process, task_status: trio.TaskStatus[None]) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, process)
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.send_all(self._setup().to_json())
            if not await process.stdout.receive_some():
                self._ends = False
                return await process.wait()
            self._process = process
            nursery.start_soon(self._follow)
            task_status.started()
            self._cluster.changed()
            status = await process.wait()
            nursery.cancel_scope.cancel()
        return status

    def _fail(self, status: int) -> NoReturn:
        lines = "\n".join(self.said)
        raise AssertionError(f"{self.name} ended by itself, with status {status}; it said:\n{lines}")

    async def _listen(self, process: trio.Process) -> None:
        assert process.stderr is not None
        rest = ""
        async for chunk in process.stderr:
            *lines, rest = (rest + chunk.decode(errors="replace")).split("\n")
            self.said.extend(lines)

    # ------------------------------------------------------------------------------------------------ what it sees

    async def _follow(self) -> None:
        while True:
            try:
                async with self._cluster.observer.node.peer(self.name).open(_follow) as items:
                    async for piece in items:
                        self._learn(piece)
            except CallError:
                pass  # the process has not ended, or we would have: the connection was lost while it stood still
            await trio.sleep(_DIAL_AGAIN_AFTER)

    def _learn(self, piece: dict[str, Any]) -> None:
        if "points" in piece:
            self._points, self._seen = piece["points"], {}
        for record in piece["members"]:
            member = Member.from_wire(record)
            self._seen[member.name] = member
        for name in piece.get("gone", ()):
            self._seen.pop(name, None)
        if not piece["more"]:
            self._cluster.changed()

    def sees_alive(self) -> set[str]:
        """The names of those it takes for alive, itself included; nobody until it has told."""
        return {name for name, member in self._seen.items() if member.status is Status.ALIVE}

    def ring(self, service: str) -> HashRing:
        """The ring of ``service`` as it follows from what it has told."""
        weights = {
            name: min(member.metadata.weight, MAX_WEIGHT)
            for name, member in self._seen.items()
            if member.status.active and service in member.metadata.services
        }
        empty = HashRing.build({}, seed=ring_seed(self._cluster.name), points=self._points or 1)
        return empty.with_nodes(weights)
