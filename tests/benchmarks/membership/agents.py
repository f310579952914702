"""A cluster of processes, ours or Serf's, and what each of them has said about whom."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from . import serf
from .machine import OTHER_SIDE

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Callable, Collection, Iterable

FIRST_PORT: Final = 8000
FIRST_RPC_PORT: Final = 9000
PATIENCE: Final = 90.0
"""Seconds after which what has not happened is said never to happen."""

_OURS: Final = re.compile(r"^(\w+) (\S+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is measured.

    Attributes:
        system: ``swimring`` or ``serf``.
        profile: ``local`` or ``lan``.
        size: how many processes.
        refusals: whether refused connections are evidence (ours).
        halves: whether the second half has an address and a user of its own, so that it can be cut off.
    """

    system: str
    profile: str
    size: int
    refusals: bool = True
    halves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """At a time, somebody came to believe something about a member."""

    at: float
    observer: str
    word: str
    subject: str


@dataclass
class Agent:
    """One process."""

    name: str
    process: trio.Process
    started: float
    deaf: bool = False
    said: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid


class Fleet:
    """All processes of one cluster."""

    def __init__(self, kind: Kind, nursery: trio.Nursery) -> None:
        self.kind = kind
        self.agents: dict[str, Agent] = {}
        self.sightings: list[Sighting] = []
        self.views: dict[tuple[str, str], str] = {}
        self._nursery = nursery
        self._news = trio.Event()

    @property
    def names(self) -> list[str]:
        """Everybody, running or not."""
        return [f"n{number}" for number in range(self.kind.size)]

    def address(self, name: str) -> str:
        return f"{self.host(name)}:{FIRST_PORT + int(name[1:])}"

    def host(self, name: str) -> str:
        return "127.0.0.2" if self.is_on_other_side(name) else "127.0.0.1"

    def is_on_other_side(self, name: str) -> bool:
        return self.kind.halves and int(name[1:]) >= self.kind.size // 2

    # ------------------------------------------------------------------------------------------------ acting

    async def start(self, name: str, *, join: Iterable[str] = (), gate: bool = False) -> Agent:
        command = self._command(name, [self.address(one) for one in join], gate=gate)
        if self.is_on_other_side(name):
            command = ["setpriv", f"--reuid={OTHER_SIDE}", f"--regid={OTHER_SIDE}", "--clear-groups", *command]
        started = trio.current_time()
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if self.kind.system == "serf" else None,
            # Python keeps what it has compiled, as it does for everybody: to compile all again is twice the start.
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        )
        agent = self.agents[name] = Agent(name=name, process=process, started=started)
        self._nursery.start_soon(self._listen, agent)
        return agent

    def _command(self, name: str, join: list[str], *, gate: bool) -> list[str]:
        kind = self.kind
        if kind.system == "serf":
            return serf.command(name, self.address(name), self.rpc_port(name), kind.profile, join)
        options = [f"--join={one}" for one in join]
        options += ["--gate"] if gate else []
        options += [] if kind.refusals else ["--no-refusals"]
        program = [sys.executable, "-m", "tests.benchmarks.membership.node"]
        return [*program, name, self.address(name), kind.profile, *options]

    def rpc_port(self, name: str) -> int:
        return FIRST_RPC_PORT + int(name[1:])

    async def open_gate(self, name: str) -> None:
        stdin = self.agents[name].process.stdin
        assert stdin is not None
        await stdin.send_all(b"go\n")

    def signal(self, name: str, number: signal.Signals) -> None:
        self.agents[name].process.send_signal(number)

    async def wait_ended(self, name: str) -> None:
        await self.agents[name].process.wait()
        for pair in [pair for pair in self.views if name in pair]:
            del self.views[pair]

    # ------------------------------------------------------------------------------------------------ watching

    async def _listen(self, agent: Agent) -> None:
        assert agent.process.stdout is not None
        rest = ""
        async for chunk in agent.process.stdout:
            now = trio.current_time()
            *lines, rest = (rest + chunk.decode()).split("\n")
            for line in lines:
                agent.said = [*agent.said[-30:], line]
                read = serf.read(line, agent.name) if self.kind.system == "serf" else self._read(line)
                if read is not None:
                    self._note(Sighting(at=now, observer=agent.name, word=read[0], subject=read[1]))

    def _read(self, line: str) -> tuple[str, str] | None:
        found = _OURS.match(line)
        return None if found is None else (found[1], found[2])

    def _note(self, sighting: Sighting) -> None:
        self.sightings.append(sighting)
        if sighting.word != "unreached":  # a probe may fail when the death is known already
            self.views[sighting.observer, sighting.subject] = sighting.word
        self._news.set()
        self._news = trio.Event()

    async def wait(self, happened: Callable[[], bool], *, within: float = PATIENCE) -> float:
        """Wait until it has happened; when that was, or infinity."""
        with trio.move_on_after(within):
            while not happened():
                await self._news.wait()
            return trio.current_time()
        return math.inf

    async def wait_word(
        self, word: str, subject: str, observers: Collection[str], *, within: float = PATIENCE
    ) -> float:
        """Wait until all observers say that of the subject; when the last one did, or infinity."""
        return await self.wait(
            lambda: all(self.views.get((one, subject)) == word for one in observers if one != subject), within=within
        )

    async def wait_full(self, *, within: float = PATIENCE) -> float:
        """Wait until everybody believes everybody alive; when that was, or infinity."""
        running = list(self.agents)
        return await self.wait(
            lambda: all(
                self.views.get((one, other)) == "alive" for one in running for other in running if one != other
            ),
            within=within,
        )

    def since(self, begin: float, *words: str) -> list[Sighting]:
        """What was said since then with one of these words."""
        return [one for one in self.sightings if one.at >= begin and one.word in words]

    # ------------------------------------------------------------------------------------------------ beginning

    async def start_all(self) -> float:
        """Start everybody, let all join the first one at one moment, and wait until all know all; how long it took."""
        async with trio.open_nursery() as nursery:
            for name in self.names:
                nursery.start_soon(self._start_waiting, name)
        joining = self.names[1:]
        expected = {name: "ready" if self._gated(name) else "up" for name in self.names}
        if (
            await self.wait(lambda: all(self.views.get((name, name)) == word for name, word in expected.items()))
            == math.inf
        ):
            raise RuntimeError(f"not all processes came up: {[agent.said[-5:] for agent in self.agents.values()]}")
        if self.kind.system == "serf":
            lines = [await serf.open_rpc(self.rpc_port(name)) for name in joining]
            begin = trio.current_time()
            for line in lines:
                await serf.join(line, self.address("n0"))
        else:
            begin = trio.current_time()
            for name in joining:
                await self.open_gate(name)
            lines = []
        took = await self.wait_full() - begin
        for line in lines:
            await line.aclose()
        return took

    def _gated(self, name: str) -> bool:
        return self.kind.system != "serf" and name != "n0"

    async def _start_waiting(self, name: str) -> None:
        gated = self._gated(name)
        await self.start(name, join=["n0"] if self.kind.system != "serf" else [], gate=gated)


@asynccontextmanager
async def open_fleet(kind: Kind) -> AsyncIterator[Fleet]:
    """A cluster that has nobody yet; whatever runs at the end of the block is killed."""
    async with trio.open_nursery() as nursery:
        fleet = Fleet(kind, nursery)
        try:
            yield fleet
        finally:
            with trio.CancelScope(shield=True):
                for agent in fleet.agents.values():
                    agent.process.kill()
                for agent in fleet.agents.values():
                    await agent.process.wait()
            nursery.cancel_scope.cancel()
