"""Nodes on the simulated network, a service for them to offer, and what their instruments hear."""

from __future__ import annotations

import functools
import inspect
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import trio

from swimring.instrument import Instrument
from swimring.node import Node, open_node
from swimring.service import Request, Service
from swimring.testing import SimulatedNetwork, open_simulated_network, run_simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

P = ParamSpec("P")
PORT = 7979


def simulated(scenario: Callable[Concatenate[SimulatedNetwork, P], Awaitable[None]]) -> Callable[P, None]:
    """Make a test of a scenario on a simulated network: in virtual time, and with no task left behind."""

    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            async with open_simulated_network() as network:
                before = living_tasks()
                await scenario(network, *args, **kwargs)
                assert living_tasks() - before == set()

        run_simulation(main, seed=1)

    # pytest would take ``network`` for a fixture: it must not see that parameter, nor the function behind.
    signature = inspect.signature(scenario)
    functools.update_wrapper(test, scenario)
    del test.__dict__["__wrapped__"]
    test.__dict__["__signature__"] = signature.replace(parameters=list(signature.parameters.values())[1:])
    return test


def living_tasks() -> set[str]:
    """Names of all tasks of the run, system tasks aside."""
    found: set[str] = set()
    waiting = [trio.lowlevel.current_root_task()]
    while waiting:
        task = waiting.pop()
        assert task is not None
        found.add(f"{task.name} {id(task)}")
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks
    return {name for name in found if "SystemTask" not in name}


@dataclass
class Recorder(Instrument):
    """What a node's instruments heard."""

    refused: list[tuple[str, str]] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    finished: list[tuple[str, str]] = field(default_factory=list)
    failed_duties: list[str] = field(default_factory=list)

    def bytes_refused(self, port: str, reason: str) -> None:
        self.refused.append((port, reason))

    def call_retried(self, ns: str, cmd: str, key: object, reason: str) -> None:
        self.retried.append(reason)

    def call_finished(self, ns: str, cmd: str, key: object, outcome: str, seconds: float) -> None:
        self.finished.append((cmd, outcome))

    def duty_failed(self, duty: str, error: BaseException) -> None:
        self.failed_duties.append(duty)


class Shop:
    """A service and what its handlers have seen, for the nodes of one test."""

    def __init__(self, name: str = "shop") -> None:  # noqa: C901 - one handler beside the other
        self.service = service = Service(name)
        self.seen: list[tuple[str, Any]] = []
        self.opened = trio.Event()

        @service.on("where", idempotent=True)
        async def where(request: Request) -> str:
            return request.node.name

        @service.on("add", idempotent=True)
        async def add(request: Request, a: int, b: int = 1) -> int:
            return a + b

        @service.on("nap", idempotent=True)
        async def nap(request: Request, seconds: float) -> str:
            return await self._nap(request, seconds)

        @service.on("nap once")
        async def nap_once(request: Request, seconds: float) -> str:
            return await self._nap(request, seconds)

        @service.on("fail")
        async def fail(request: Request, text: str) -> None:
            raise ZeroDivisionError(text)

        @service.on("deadline", idempotent=True)
        async def deadline(request: Request) -> list[float]:
            now = trio.current_time()
            return [request.deadline - now, trio.current_effective_deadline() - now]

        @service.on("relay", idempotent=True)
        async def relay(request: Request, to: str, after: float = 0.0) -> list[float]:
            await trio.sleep(after)
            return await request.node.call(deadline, to)

        @service.on("shout")
        async def shout(request: Request) -> int:
            size = 0
            async with request.streams["text"] as stream:
                async for chunk in stream:
                    size += len(chunk)
                    await stream.send(chunk.upper())
            return size

        self.where, self.add, self.nap, self.nap_once, self.fail = where, add, nap, nap_once, fail
        self.deadline, self.relay, self.shout = deadline, relay, shout

    async def _nap(self, request: Request, seconds: float) -> str:
        self.seen.append(("began", request.node.name))
        self.opened.set()
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.seen.append(("cancelled", trio.current_time()))
            raise
        self.seen.append(("ended", request.node.name))
        return request.node.name


def node_at(
    network: SimulatedNetwork, at: str, *services: Service, **settings: Any
) -> AbstractAsyncContextManager[Node]:
    """A node on that host, under the name of the host, of cluster ``test``."""
    defaults: dict[str, Any] = {
        "cluster": "test", "name": at, "listen": f"{at}:{PORT}", "insecure": True, "host": network.host(at),
    }  # fmt: skip
    return open_node(*services, network=network.at(at), **(defaults | settings))


@asynccontextmanager
async def nodes_at(
    network: SimulatedNetwork, hosts: str, *services: Service, **settings: Any
) -> AsyncIterator[list[Node]]:
    """One node for each letter, all in one ring; they leave when the block ends, without waiting."""
    async with trio.open_nursery() as nursery:
        nodes = []
        for host in hosts:
            opened = node_at(network, host, *services, join=[f"{hosts[0]}:{PORT}"], **settings)
            nodes.append(await nursery.start(functools.partial(hold, opened)))
        if services and settings.get("weight", 1):
            for node in nodes:
                await node.wait_ring(services[0], nodes=len(hosts))
        yield nodes
        for node in nodes:
            node.hurry()
        nursery.cancel_scope.cancel()


async def hold(
    opened: AbstractAsyncContextManager[Node], *, task_status: trio.TaskStatus[Node] = trio.TASK_STATUS_IGNORED
) -> None:
    """Keep a node open until cancelled."""
    async with opened as node:
        task_status.started(node)
        await trio.sleep(math.inf)


def key_of(node: Node, owner: str, service: Service | str | None = None) -> str:
    """A key that ``owner`` owns, as ``node`` sees it."""
    return next(key for i in range(10_000) if node.lookup(key := f"k{i}", service=service).name == owner)
