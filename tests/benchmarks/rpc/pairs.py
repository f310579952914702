"""A server and a client of one peer: two processes that wait for a line, measure, and say what they found."""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .installing import Installed

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PATIENCE = 120.0
"""Seconds that a process may be silent."""
PEERS = ("swimring", "bare", "tentacoli", "tentacoli, no-delay", "grpc", "rpyc", "http", "casty")
TITLES = {
    "swimring": "**swimring**, whole stack",
    "bare": "bare Trio stream",
    "tentacoli": "tentacoli, as shipped",
    "tentacoli, no-delay": "tentacoli, no-delay set",
    "grpc": "grpcio, asyncio",
    "rpyc": "rpyc",
    "http": "HTTP/1.1, uvicorn and aiohttp",
    "casty": "casty",
}


class PeerFailed(Exception):
    """A peer does not answer (any more); the text says what it did instead."""


class Pair:
    """Both processes of one peer, connected to each other; idle until `measure`."""

    def __init__(self, peer: str, installed: Installed) -> None:
        self.peer = peer
        self._processes: list[subprocess.Popen[str]] = []
        try:
            address = self._start(_command(peer, installed, "serve"))["address"]
            self.can = set(self._start(_command(peer, installed, "measure", str(address)))["can"])
        except BaseException:
            self.close()
            raise

    def measure(self, what: str, **how: object) -> dict[str, float]:
        """What the client finds; and for calls, the processor time in µs that both processes spent on each."""
        client = self._processes[-1]
        assert client.stdin is not None
        before = self._spent()
        client.stdin.write(json.dumps({"measure": what, **how}) + "\n")
        client.stdin.flush()
        found = self._answer(client)
        if "count" in found:
            found["cpu"] = (self._spent() - before) / max(1, found["count"]) * 1e6
        return found

    def does(self, what: str, how: dict[str, object]) -> bool:
        """Whether this peer has that measurement at all."""
        return what in self.can or f"{what} {how.get('concurrency')}" in self.can

    def close(self) -> None:
        """End both processes, the client first."""
        for process in reversed(self._processes):
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spent(self) -> float:
        """Seconds of processor time of both, all their threads included."""
        spent = 0
        for process in self._processes:
            try:
                # The second field is the name of the program, which may hold anything but a closing parenthesis.
                fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return math.nan  # only Linux tells
            spent += int(fields[11]) + int(fields[12])
        return spent / os.sysconf("SC_CLK_TCK")

    def _start(self, command: Sequence[str]) -> dict[str, Any]:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._processes.append(process)
        return self._answer(process)

    def _answer(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], PATIENCE)[0]:
            raise PeerFailed(f"no answer within {PATIENCE:g} s")
        line = process.stdout.readline()
        if not line:
            raise PeerFailed(f"it ended with status {process.wait()}, see above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def package_of(peer: str) -> str:
    """What has to be installed for it."""
    return peer.partition(",")[0]


def _command(peer: str, installed: Installed, *arguments: str) -> list[str]:
    if package_of(peer) == "tentacoli":
        script = str(HERE / "peers" / "tentacoli.js")
        how = ["nodelay"] if "no-delay" in peer else []
        address = arguments[1:] or ("",)
        return [str(installed.node), script, str(installed.folder), arguments[0], *address, *how]
    module = "bare" if peer == "bare" else f"with_{peer}"
    return [str(installed.python), "-m", f"tests.benchmarks.rpc.peers.{module}", *arguments]
