"""The driver's side of the process that asks."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import trio

from .fleet import ROOT, Broken, environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence


class Asker:
    """What `Asking` can do, from another process."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._numbers = count()
        self._waiting: dict[int, trio.Event] = {}
        self._answers: dict[int, dict[str, Any]] = {}

    async def do(self, what: str, *, within: float = 120.0, **arguments: Any) -> Any:
        """Have one command answered."""
        number = next(self._numbers)
        self._waiting[number] = trio.Event()
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"number": number, "do": what, **arguments}).encode() + b"\n")
        with trio.move_on_after(within) as patience:
            await self._waiting[number].wait()
        if patience.cancelled_caught:
            raise Broken(f"{what} {arguments} was not done within {within:.0f} s")
        answer = self._answers.pop(number)
        if "error" in answer:
            raise Broken(f"{what} {arguments}: {answer['error']}")
        return answer["value"]

    async def listen(self) -> None:
        """Take in answers until the process ends."""
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                self._answers[answer["number"]] = answer
                self._waiting.pop(answer["number"]).set()
        raise Broken("the process that asks has ended")


@asynccontextmanager
async def open_asker(
    cluster: str,
    service: str,
    join: Sequence[str],
    *,
    name: str = "asker",
    listen: str = "127.0.0.1:0",
    prefix: Sequence[str] = (),
) -> AsyncIterator[Asker]:
    """A process that asks, killed at the end of the block."""
    command = [*prefix, sys.executable, "-m", "tests.chaos.asking", cluster, name, listen, service, *join]
    async with open_asker_of(command, environment()) as asker:
        yield asker


@asynccontextmanager
async def open_asker_of(command: Sequence[str], env: Mapping[str, str]) -> AsyncIterator[Asker]:
    """The same, of a command that answers the same lines."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=ROOT
    )
    try:
        async with trio.open_nursery() as nursery:
            asker = Asker(process)
            nursery.start_soon(asker.listen)
            yield asker
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
