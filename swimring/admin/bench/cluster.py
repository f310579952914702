"""Nodes that a bench starts for itself, a process each, and how much CPU they take."""

from __future__ import annotations

import os
import secrets
import sys
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from swimring.admin.fleet import open_fleet
from swimring.errors import NotJoined

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from swimring.admin.fleet import Child, Fleet

RUN: Final = "run"
WATCHED: Final = (RUN, "nobody", "metrics", "tracing", "sampled")
"""Who watches the nodes: what `swimring run` has; nobody; Prometheus; OpenTelemetry that samples nothing; or all."""
_LAST_WORDS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """Nodes that serve.

    Attributes:
        cluster: its name.
        addresses: where they serve.
        children: their processes.
    """

    cluster: str
    addresses: tuple[str, ...]
    children: tuple[Child, ...]

    def cpu(self) -> float | None:
        """Seconds of CPU that they have taken so far; None where the system does not tell."""
        spent = [child.cpu() for child in self.children]
        return None if None in spent else sum(one for one in spent if one is not None)


@asynccontextmanager
async def open_spawned(target: str, *, nodes: int, watched: str = RUN) -> AsyncIterator[Spawned]:
    """Run ``nodes`` nodes of ``target`` on this machine while the block runs.

    Raises:
        NotJoined: one of them did not start; the text has its last words.
    """
    cluster, said, join = f"bench-{secrets.token_hex(3)}", deque[str](maxlen=_LAST_WORDS), "127.0.0.1:1"

    def command(label: str) -> list[str]:
        own = ["--cluster", cluster, "--name", label, "--listen", "127.0.0.1:0", "--join", join]
        if watched != RUN:
            return [sys.executable, "-m", "swimring.admin.bench.watched", watched, target, *own]
        quiet = ["--config", os.devnull, "--admin", "off", "--log-level", "warning", "--supervised"]
        return [sys.executable, "-m", "swimring", "run", target, *own, *quiet]

    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWIMRING_")}
    async with open_fleet(command, hear=lambda _label, line: said.append(line), environment=environment) as fleet:
        addresses: list[str] = []
        for number in range(1, nodes + 1):
            addresses.append(await _start(fleet, f"n{number}", said))
            join = addresses[0]
        yield Spawned(cluster=cluster, addresses=tuple(addresses), children=tuple(fleet.children.values()))
        await fleet.drain()


async def _start(fleet: Fleet, label: str, said: deque[str]) -> str:
    child = await fleet.start(label)
    await child.settled.wait()
    if child.facts is None:
        raise NotJoined(f"{label} did not start (status {child.status}): {' '.join(said) or 'it said nothing'}")
    return child.facts.address
