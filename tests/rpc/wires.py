"""Two or more pools and the wires between them: memory streams that the test can cut."""

from __future__ import annotations

import math
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from swimring.identity import Address, NodeId
from swimring.instrument import Instrument, Instruments
from swimring.mux import Limits
from swimring.net import Binding, Network, SystemHost
from swimring.rpc import Incoming, Peer, Pool, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from swimring.rpc import Serve

PATIENT = Limits(idle_interval=1e6)
"""No pings, so that virtual time jumps only over what the test is about."""


class SeededHost(SystemHost):
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)


class Wires(Network):
    """Connects pools by memory streams; `dials` counts, `cut` breaks every stream, `down` refuses an address."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._pools: dict[Address, Pool] = {}
        self.down: set[Address] = set()
        self.dials = 0
        self.held: trio.Event | None = None
        self.streams: list[trio.testing.MemoryStream] = []  # type: ignore[name-defined] # trio names it only in its hints

    def listen(self, address: Address, pool: Pool) -> None:
        self._pools[address] = pool

    async def connect(self, address: Address) -> trio.abc.Stream:
        self.dials += 1
        await trio.lowlevel.checkpoint()
        if self.held is not None:
            await self.held.wait()
        if address in self.down or address not in self._pools:
            raise ConnectionRefusedError("refused")
        here, there = trio.testing.memory_stream_pair()
        self.streams += [here, there]
        self._nursery.start_soon(self._pools[address].serve_stream, there, Address("dialler", 1))
        return here

    def cut(self) -> None:
        """Every connection ends without a word."""
        for stream in self.streams:
            stream.send_stream.close()
            stream.receive_stream.close()
        self.streams.clear()

    async def bind(self, address: Address) -> Binding:
        raise NotImplementedError

    async def resolve(self, address: Address) -> list[Address]:
        return [address]


class Witness(Instrument):
    """Writes down what a pool tells."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.outcomes: list[str] = []
        self.closed: list[str] = []
        self.failed_duties: list[str] = []

    def bytes_refused(self, port: str, reason: str) -> None:
        self.refused.append(reason)

    def handler_finished(self, ns: str, cmd: str, key: object, outcome: str, seconds: float) -> None:
        self.outcomes.append(outcome)

    def connection_closed(self, peer: str, reason: str) -> None:
        self.closed.append(reason)

    def duty_failed(self, duty: str, error: BaseException) -> None:
        self.failed_duties.append(duty)


class End:
    """One pool of a test, with what it told and lost."""

    def __init__(self, pool: Pool, address: Address, witness: Witness, lost: list[str]) -> None:
        self.pool = pool
        self.address = address
        self.witness = witness
        self.lost = lost

    async def to(self, other: End) -> Peer:
        return await self.pool.peer(other.pool.me.name, other.address, other.pool.me.generation)

    @property
    def leftovers(self) -> tuple[int, int, int]:
        """Pending calls, jobs and open streams: all zero when nothing is going on."""
        connections = self.pool.connections
        return (
            sum(len(connection.calling) for connection in connections),
            sum(len(connection.serving) for connection in connections),
            sum(connection.session.open_calls + connection.session.open_streams for connection in connections),
        )


async def echo(incoming: Incoming) -> object:
    incoming.begin()
    return dict(incoming.message)


@asynccontextmanager
async def open_end(
    wires: Wires,
    name: str,
    serve: Serve = echo,
    *,
    limits: Limits = PATIENT,
    cluster: str = "test",
    generation: int = 1,
    is_suspect: Callable[[str], bool] = lambda _name: False,
) -> AsyncIterator[End]:
    witness = Witness()
    lost: list[str] = []
    address = Address(name, 7979)
    async with open_pool(
        me=NodeId(name, generation),
        cluster=cluster,
        network=wires,
        host=SeededHost(7),
        serve=serve,
        instruments=Instruments([witness]),
        limits=limits,
        connection_lost=lost.append,
        is_suspect=is_suspect,
    ) as pool:
        wires.listen(address, pool)
        yield End(pool, address, witness, lost)


async def fail_while_cancelled() -> None:
    """Wait until cancelled, in a nursery with a child that fails then."""

    async def child() -> None:
        try:
            await trio.sleep(math.inf)
        finally:
            raise ValueError("while cleaning up")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        await trio.sleep(math.inf)


@asynccontextmanager
async def open_wires() -> AsyncIterator[Wires]:
    async with trio.open_nursery() as nursery:
        yield Wires(nursery)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def two_ends(serve: Serve = echo, **settings: Any) -> AsyncIterator[tuple[End, End, Wires]]:
    """Pools ``a`` and ``b``; ``b`` answers with ``serve``."""
    async with (
        open_wires() as wires,
        open_end(wires, "a", limits=settings.get("limits", PATIENT)) as a,
        open_end(wires, "b", serve, **settings) as b,
    ):
        yield a, b, wires
