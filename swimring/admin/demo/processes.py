"""The demo's node processes: started as a user would start them, ended with the block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRETS: Final = ("SWIMRING_SECRET_FILE", "SWIMRING_SECRET")
"""What the nodes read of the environment: the commands that are typed next have these, too."""
_STOP_WITHIN: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProcess:
    """One node in a process of its own."""

    name: str
    process: trio.Process
    log: Path

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()


@asynccontextmanager
async def node_processes(target: str, *, cluster: str, count: int) -> AsyncIterator[list[NodeProcess]]:
    """Run ``swimring run TARGET`` ``count`` times; on the way out they get SIGTERM, and after 5 s SIGKILL."""
    nodes: list[NodeProcess] = []
    with tempfile.TemporaryDirectory(prefix="swimring-demo-") as folder:
        try:
            for number in range(1, count + 1):
                nodes.append(await _start(target, cluster, f"{cluster}-{number}", Path(folder)))  # noqa: PERF401 - those that started before one fails have to be stopped
            yield nodes
        finally:
            with trio.CancelScope(shield=True):
                await _stop(nodes)


async def _start(target: str, cluster: str, name: str, folder: Path) -> NodeProcess:
    log = folder / f"{name}.log"
    own = ("--cluster", cluster, "--name", name, "--config", os.devnull)  # whatever this folder is set up for
    command = [sys.executable, "-m", "swimring", "run", target, *own]
    environment = {
        variable: text
        for variable, text in os.environ.items()
        if not variable.startswith("SWIMRING_") or variable in SECRETS
    }
    with log.open("wb") as output:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the driver: it tells the nodes
        )
    return NodeProcess(name=name, process=process, log=log)


async def _stop(nodes: list[NodeProcess]) -> None:
    for node in nodes:
        if node.process.poll() is None:
            node.process.send_signal(signal.SIGTERM)
    with trio.move_on_after(_STOP_WITHIN):
        for node in nodes:
            await node.process.wait()
    for node in nodes:
        if node.process.poll() is None:
            node.process.kill()
            await node.process.wait()
