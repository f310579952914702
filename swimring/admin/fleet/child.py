"""One node in a process of its own: started, heard, frozen, drained, killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LAST_WORDS_WITHIN: Final = 1.0
"""Seconds for which output is read after the end; a process of its own that holds the pipe may never close it."""
_LONGEST_LINE: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a node says when it serves.

    Attributes:
        name: its own, in its cluster.
        address: where it serves.
        url: where it can be watched; None for nowhere.
    """

    name: str
    address: str
    url: str | None


class Child:
    """A process; `run` is its life, and when that is cancelled it is killed."""

    def __init__(self, label: str, command: Sequence[str], *, hear: Callable[[str, str], None]) -> None:
        """``hear`` is called with ``label`` and each line that the process says."""
        self.label: Final = label
        self.facts: Facts | None = None
        """What it said when it began to serve."""
        self.frozen = False
        """Whether it is stopped where it stands."""
        self.settled: Final = trio.Event()
        """Set when it serves, or has ended before it could."""
        self.ended: Final = trio.Event()
        self._command = command
        self._hear = hear
        self._process: trio.Process | None = None

    def __repr__(self) -> str:
        return f"<Child {self.label}: {self.state}>"

    @property
    def state(self) -> str:
        """starting, serving, frozen or gone."""
        if self.ended.is_set():
            return "gone"
        if self.frozen:
            return "frozen"
        return "starting" if self.facts is None else "serving"

    @property
    def status(self) -> int | None:
        """Its exit status, once it has ended; negative for the signal that ended it."""
        return None if self._process is None else self._process.returncode

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process is not None
        return self._process.pid

    def cpu(self) -> float | None:
        """Seconds of CPU that it has taken; None where the system does not tell (it does on Linux)."""
        try:
            words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    async def run(
        self,
        environment: Mapping[str, str],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Start it and stay until it has ended."""
        ours, theirs = socket.socketpair()
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as link:
            with theirs:
                # In a session of its own: Ctrl-C is for the owner, who tells the nodes.
                self._process = await trio.lowlevel.open_process(
                    self._command,
                    stdin=theirs,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment,
                )
            task_status.started()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._learn, link, name="swimring child facts")
                    with_output = await nursery.start(self._listen)
                    await self._process.wait()
                    with trio.move_on_after(_LAST_WORDS_WITHIN):
                        await with_output.wait()
                    nursery.cancel_scope.cancel()
            finally:
                await self._end()

    def drain(self) -> None:
        """Ask it to leave; one that is frozen goes on first."""
        self.thaw()
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it where it stands: to the others it is as if its cable had been pulled."""
        self.frozen = True
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.frozen = False
        self._send(signal.SIGCONT)

    def reload(self) -> None:
        """Have it read its files again."""
        self._send(signal.SIGHUP)

    # ---------------------------------------------------------------------------------------------------- inside

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)  # it is our child and was not waited for: the number is its own

    async def _end(self) -> None:
        assert self._process is not None
        with trio.CancelScope(shield=True):
            self._send(signal.SIGKILL)
            await self._process.wait()
            if self._process.stdout is not None:
                await self._process.stdout.aclose()
        self.ended.set()
        self.settled.set()

    async def _learn(self, link: trio.SocketStream) -> None:
        said = b""
        try:
            while b"\n" not in said:
                chunk = await link.receive_some()
                if not chunk:
                    return
                said += chunk
        except trio.BrokenResourceError:
            return
        self.facts = Facts(**json.loads(said))
        self.settled.set()

    async def _listen(self, task_status: trio.TaskStatus[trio.Event]) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        silent, rest = trio.Event(), b""
        task_status.started(silent)
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._hear(self.label, line.decode(errors="replace"))
            if len(rest) > _LONGEST_LINE:
                self._hear(self.label, rest.decode(errors="replace"))
                rest = b""
        if rest:
            self._hear(self.label, rest.decode(errors="replace"))
        silent.set()
