"""Nodes that are started on machines of a simulated network one by one, each with settings of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from swimring.node import Node, open_node
from swimring.service import Request, Service
from swimring.swim import Status
from swimring.testing import SimulatedNetwork, open_simulated_network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

PORT = 7979
kv = Service("kv")


@kv.on("where")
async def where(request: Request) -> str:
    return str(request.node.name)


@dataclass(eq=False)
class Machine:
    """A machine, and the node that is starting or running on it."""

    host: str
    started: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    opened: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)
    took: float = 0.0
    """Seconds from its start until it had joined."""
    ring: tuple[str, ...] = ()
    """Who was on its ring when it had joined."""
    running: Node | None = None

    @property
    def node(self) -> Node:
        assert self.running is not None, f"{self.host} is not open"
        return self.running

    def sees(self, status: Status = Status.ALIVE) -> set[str]:
        return {member.name for member in self.node.members if member.status is status}


class Machines:
    """All of them."""

    def __init__(self, network: SimulatedNetwork, nursery: trio.Nursery) -> None:
        self.network = network
        self._nursery = nursery

    def start(self, host: str, *services: Service, name: str | None = None, **settings: Any) -> Machine:
        """Start a node on ``host``, of the service kv unless others are given; do not wait until it has joined."""
        machine = Machine(host, trio.current_time())
        network = self.network.at(host)
        defaults = {"cluster": "c", "profile": "lan", "listen": f"0.0.0.0:{PORT}", "advertise": f"{host}:{PORT}"}
        offered = services if services or "cluster" in settings else (kv,)

        async def live() -> None:
            try:
                with machine.scope:
                    async with open_node(
                        *offered,
                        **{**defaults, **settings},
                        name=name or host,
                        insecure=True,
                        network=network,
                        host=self.network.host(host),
                    ) as node:
                        machine.running, machine.took = node, trio.current_time() - machine.started
                        machine.ring = tuple(node.ring("kv").nodes)
                        machine.opened.set()
                        await trio.sleep_forever()
            finally:
                machine.running = None
                machine.over.set()

        self._nursery.start_soon(live, name=f"machine {host}")
        return machine

    async def kill(self, machine: Machine, *, silently: bool = False) -> None:
        """End the process as SIGKILL does, or lose the machine; return when its tasks have ended."""
        if machine.running is not None:
            machine.running.hurry()
        machine.scope.cancel()
        (self.network.freeze if silently else self.network.crash)(machine.host)
        await machine.over.wait()

    async def wait_opened(self, machines: Iterable[Machine]) -> None:
        for machine in machines:
            await machine.opened.wait()

    async def wait_agreed(self, machines: Iterable[Machine]) -> float:
        """Wait until each sees all and nobody else alive, with as many on its ring; the seconds it took."""
        machines = list(machines)
        began = trio.current_time()
        await self.wait_opened(machines)
        names = {machine.node.name for machine in machines}
        for machine in machines:
            async with machine.node.events() as events:
                if machine.sees() != names:
                    async for _ in events:
                        if machine.sees() == names:
                            break
            await machine.node.wait_ring("kv", nodes=len(names))
        assert all(machine.sees() == names for machine in machines)
        return trio.current_time() - began


@asynccontextmanager
async def open_machines() -> AsyncIterator[Machines]:
    """Machines on a network of their own; what still runs when the block ends is cancelled."""
    async with open_simulated_network() as network, trio.open_nursery() as nursery:
        yield Machines(network, nursery)
        nursery.cancel_scope.cancel()
