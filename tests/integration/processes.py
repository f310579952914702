"""``swimring`` as a user types it: processes whose output is read line by line as it comes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from .forking import run_forked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9])")


class Running:
    """One ``swimring run``, and what it has said so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.said = ""
        """All of stdout and stderr."""
        self._more = trio.Event()
        self._silent = trio.Event()

    async def listen(self) -> None:
        """Take in its output until it ends."""
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            self.said += chunk.decode()
            self._more.set()
            self._more = trio.Event()
        self._more.set()
        self._silent.set()

    async def wait_said(self, words: str) -> str:
        """Wait until it has said that; the line it is in."""
        while words not in self.said:
            await self._more.wait()
            assert self.process.returncode is None or words in self.said, self.said
        return next(line for line in self.said.splitlines() if words in line)

    async def wait_more(self) -> None:
        """Wait until it says anything more."""
        await self._more.wait()
        assert self.process.returncode is None, self.said

    async def wait_address(self) -> str:
        """Wait until it serves; its HOST:PORT."""
        return address_in(await self.wait_said(" in cluster "))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def wait_ended(self) -> int:
        """Wait until it has ended and all it said was read; its exit status."""
        status = await self.process.wait()
        await self._silent.wait()
        return status


class Terminal(Running):
    """One command in a pseudo-terminal: what it shows, without the escape codes, and the keys that are pressed."""

    def __init__(self, process: trio.Process, descriptor: int) -> None:
        super().__init__(process)
        self._descriptor = descriptor
        self.raw = ""
        """What it wrote, with escape codes."""

    async def listen(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                chunk = os.read(self._descriptor, 65536)
            except BlockingIOError:
                continue
            except OSError:  # nobody has the other end any more
                chunk = b""
            if not chunk:
                break
            self.raw += chunk.decode(errors="replace")
            self.said = _ESCAPES.sub("", self.raw).replace("\r", "")
            self._more.set()
            self._more = trio.Event()
        self._more.set()
        self._silent.set()

    async def press(self, keys: str) -> None:
        """Type ``keys``; Ctrl-C is ``\\x03``."""
        await trio.lowlevel.wait_writable(self._descriptor)
        os.write(self._descriptor, keys.encode())


@asynccontextmanager
async def running(target: str, *options: str, cwd: Path | None = None) -> AsyncIterator[Running]:
    """Run a node on a free port; whatever is left of it is killed at the end of the block."""
    async with started("run", target, "--listen", "127.0.0.1:0", *options, cwd=cwd) as node:
        yield node


@asynccontextmanager
async def started(
    *arguments: str,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
    command: Sequence[str] = (sys.executable, "-m", "swimring"),
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Running]:
    """Start ``swimring`` with these arguments; whatever is left of it is killed at the end of the block."""
    process = await trio.lowlevel.open_process(
        [*prefix, *command, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ or environment(),
    )
    node = Running(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.listen)
        try:
            yield node
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()


@asynccontextmanager
async def in_terminal(
    *arguments: str,
    cwd: Path | None = None,
    columns: int = 120,
    command: Sequence[str] = (sys.executable, "-m", "swimring"),
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Terminal]:
    """Start ``swimring`` in a terminal of its own; whatever is left of it is killed at the end of the block."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = await trio.lowlevel.open_process(
        [*command, *arguments],
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_terminal,  # so that Ctrl-C is a signal
        env={**(environ or environment()), "TERM": "xterm-256color"},
    )
    os.close(theirs)
    terminal = Terminal(process, ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal.listen)
        try:
            yield terminal
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
            nursery.cancel_scope.cancel()
            os.close(ours)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def ring_of(target: str, options: Mapping[str, Sequence[str]], *, cluster: str) -> Iterator[str]:
    """Run nodes of these names and options, each joining the one before; the line in which the last says it serves."""
    with nodes_of(target, options, cluster=cluster) as nodes:
        yield list(nodes.values())[-1].line


@dataclass(frozen=True, slots=True)
class Serving:
    """A node that serves, in a test that is no coroutine."""

    process: subprocess.Popen[str]
    line: str
    """In which it says so."""

    @property
    def address(self) -> str:
        return address_in(self.line)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped where it stands while the block runs."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def nodes_of(target: str, options: Mapping[str, Sequence[str]], *, cluster: str) -> Iterator[dict[str, Serving]]:
    """Run nodes of these names and options, each joining the one before."""
    nodes: dict[str, Serving] = {}
    join = "127.0.0.1:1"
    with ExitStack() as stack:
        for name, more in options.items():
            command = [sys.executable, "-m", "swimring", "run", target, "--cluster", cluster, "--name", name]
            process = stack.enter_context(
                subprocess.Popen(
                    [*command, "--listen", "127.0.0.1:0", "--join", join, *more],
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment(),
                )
            )
            stack.callback(process.kill)
            assert process.stderr is not None
            line = next(line for line in process.stderr if " in cluster " in line)
            nodes[name], join = Serving(process, line), address_in(line)
        yield nodes


def address_in(line: str) -> str:
    """The HOST:PORT in the line in which a node says that it serves."""
    return line.partition(" at ")[2].partition(",")[0]


async def swimring(*arguments: str, prefix: Sequence[str] = ()) -> tuple[int, str, str]:
    """Run one command to its end: exit status, stdout, stderr."""
    if prefix:
        done = await trio.run_process(
            [*prefix, sys.executable, "-m", "swimring", *arguments],
            capture_stdout=True, capture_stderr=True, check=False, env=environment(),
        )  # fmt: skip
        status, out, err = done.returncode, done.stdout.decode(), done.stderr.decode()
    else:
        status, out, err = await run_forked(arguments, environment())
    assert "\x1b" not in out + err, "there are no colours in a pipe"
    return status, out, err


async def swimring_json(*arguments: str) -> Any:
    """Run one command that succeeds; what it prints as JSON."""
    status, out, err = await swimring(*arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def environment() -> dict[str, str]:
    """The environment of this process, with the modules it would find, and the terminal's own size."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    return {**inherited, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
