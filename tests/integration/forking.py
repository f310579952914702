"""A process that has the commands loaded and forks for each that is typed: it saves each of them most of a second.

What a command is given is as for a process of its own: arguments, environment, folder, files for what it prints.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOADED = (
    "asking",
    "watching",
    "operating",
    "rotating",
    "tracing",
    "doctoring",
    "configuring",
    "describing",
    "commands",
)


async def run_forked(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str, str]:
    """Run one command of ``swimring`` to its end: exit status, stdout, stderr."""
    request = {"arguments": list(arguments), "environ": dict(environ), "folder": str(Path.cwd())}
    answer = b""
    async with await trio.open_unix_socket(_listening(environ["PYTHONPATH"])) as link:
        await link.send_all(json.dumps(request).encode() + b"\n")
        async for chunk in link:
            answer += chunk
    status, out, err = json.loads(answer)
    return status, out, err


@cache
def _listening(path: str) -> str:
    """Start it, once; the socket that it listens at. It ends with this process."""
    place = f"{tempfile.mkdtemp(prefix='swimring-forking-')}/socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.forking", place],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    atexit.register(process.communicate)  # its stdin is closed, and it ends
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    return place


def _serve(place: str) -> None:
    for name in _LOADED:
        import_module(f"swimring.admin.cli.{name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as ready:
        listener.bind(place)
        listener.listen()
        os.write(1, b"listening\n")
        for source in (0, listener):
            ready.register(source, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in ready.select()):
            link, _ = listener.accept()
            with link:
                if os.fork() == 0:
                    _run(link)
    Path(place).unlink()
    Path(place).parent.rmdir()


def _run(link: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with link.makefile("rb") as lines:
        request: dict[str, Any] = json.loads(lines.readline())
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    said = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - the end of the process closes them
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, file in enumerate(said, start=1):
        os.dup2(file.fileno(), number)
    status = _status_of(request["arguments"])
    sys.stdout.flush()
    sys.stderr.flush()
    told = []
    for file in said:
        file.seek(0)
        told.append(file.read().decode())
    link.sendall(json.dumps([status, *told]).encode())
    os._exit(0)


def _status_of(arguments: list[str]) -> int:
    from swimring.admin.cli import main

    try:
        main(arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - as a process of its own would: a traceback, and status 1
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1])
