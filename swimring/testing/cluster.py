"""A whole cluster in one process: real nodes on simulated machines, killed, lost, restarted and cut off at will.

async def scenario():
    async with open_sim_cluster() as cluster:
        one, two, three = await cluster.start(3, service)
        await cluster.settled()
        with cluster.partition(one, [two, three]):
            ...

run_simulation(scenario, seed=7)
"""

from __future__ import annotations

from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from swimring.errors import ConfigError
from swimring.identity import DEFAULT_PORT, Address
from swimring.node import open_node
from swimring.swim import Profile, Status

from .network import LAN, open_simulated_network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from swimring.identity import Key
    from swimring.node import Node
    from swimring.service import Service

    from .faults import Latency
    from .network import SimulatedNetwork

STARTS_WITHIN: Final = 0.25
"""Seconds that a restarted process takes before it runs."""

SETTLES_WITHIN: Final = 600.0
"""Virtual seconds after which a cluster that does not agree is called stuck."""

_SEEDS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSetup:
    """What one simulated node is started with, in every life.

    Attributes:
        services: what it answers.
        profile: the timings of its membership.
        weight: how much of the ring it takes.
        zone: a label of where it runs.
        skew: seconds that its wall clock is ahead.
        drift: how much faster than true time its boot clock runs.
    """

    services: tuple[Service, ...] = ()
    profile: Profile | str = "lan"
    weight: int = 1
    zone: str = ""
    skew: float = 0.0
    drift: float = 0.0


class SimNode:
    """One simulated machine and the node that runs on it, over all its lives."""

    def __init__(self, cluster: SimCluster, name: str, setup: NodeSetup) -> None:
        """Made by `SimCluster.start`."""
        self.name = name
        self.setup = setup
        self._cluster = cluster
        self._node: Node | None = None
        self._killed = False
        self._farewell = trio.Event()
        self._over = trio.Event()
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<SimNode {self.name}, {'running' if self.running else 'down'}>"

    @property
    def running(self) -> bool:
        """Whether its process runs and takes part."""
        return self._node is not None and not self._killed

    @property
    def node(self) -> Node:
        """The node of the current life.

        Raises:
            ConfigError: it is not running.
        """
        if self._node is None or self._killed:
            raise _not_running(self.name)
        return self._node

    def crash(self) -> None:
        """Kill the process, as SIGKILL does: no farewell; peers see resets, dialling it is refused."""
        self._kill()
        self._cluster.network.crash(self.name)

    def freeze(self) -> None:
        """Lose the machine: no farewell, and nobody is told anything by anybody."""
        self._kill()
        self._cluster.network.freeze(self.name)

    async def leave(self) -> None:
        """Stop in good order, as SIGTERM does; return when the process has ended.

        Raises:
            ConfigError: it is not running.
        """
        if not self.running:
            raise _not_running(self.name)
        self._farewell.set()
        await self._over.wait()
        self._cluster.network.crash(self.name)  # nothing is open any more; the next life is a new one

    async def restart(self) -> Node:
        """Start the next life of a node that is down, under its old name; return when it has joined.

        Raises:
            ConfigError: it is running.
        """
        if self.running:
            raise ConfigError("node", self.name, "this node is running: crash it first, or let it leave")
        await self._over.wait()
        await trio.sleep(STARTS_WITHIN)
        await self._cluster.launch(self)
        return self.node

    def _kill(self) -> None:
        # Cancelled before its sockets close, it ends by cancellation and not by errors of its sockets.
        self.node.hurry()
        self._killed = True
        self._scope.cancel()

    async def live(self, *, task_status: trio.TaskStatus[None]) -> None:
        """One life, from start to end."""
        self._farewell, self._over = trio.Event(), trio.Event()
        self._killed = False
        try:
            with trio.CancelScope() as self._scope:
                await self._be_a_node(task_status)
        except* Exception:
            if not self._killed:  # what a killed process runs into does not matter to anybody
                raise
        finally:
            self._node = None
            self._over.set()
            self._cluster.changed()

    async def _be_a_node(self, task_status: trio.TaskStatus[None]) -> None:
        setup, cluster = self.setup, self._cluster
        async with (
            open_node(
                *setup.services,
                cluster=cluster.name,
                name=self.name,
                listen=f"0.0.0.0:{DEFAULT_PORT}",
                advertise=f"{self.name}:{DEFAULT_PORT}",
                join=cluster.seeds_for(self),
                profile=setup.profile,
                weight=setup.weight,
                zone=setup.zone,
                insecure=True,
                secret=cluster.secret,
                seal=cluster.seal,
                network=cluster.network.at(self.name),
                host=cluster.network.host(self.name, skew=setup.skew, drift=setup.drift),
            ) as node,
            node.events() as events,
            trio.open_nursery() as nursery,
        ):

            async def watch() -> None:
                async for _ in events:
                    cluster.changed()

            nursery.start_soon(watch)
            self._node = node
            task_status.started()
            cluster.changed()
            await self._farewell.wait()
            nursery.cancel_scope.cancel()


def _not_running(name: str) -> ConfigError:
    return ConfigError("node", name, "this node is not running")


SimNodes: TypeAlias = "SimNode | Iterable[SimNode]"


class SimCluster:
    """Nodes n1, n2, ... of one cluster on one simulated network; opened by `open_sim_cluster`.

    Attributes:
        network: what they talk over, where faults are made.
        name: of the cluster.
        secret: what each life is started with from now on; keys of lives under way change by ``ns: swimring``.
        seal: the same, as for `open_node`.
    """

    def __init__(
        self,
        network: SimulatedNetwork,
        nursery: trio.Nursery,
        *,
        name: str,
        secret: bytes | Sequence[bytes] | None = None,
        seal: str = "require",
    ) -> None:
        """No nodes yet."""
        self.network = network
        self.name = name
        self.secret = secret
        self.seal = seal
        self._nursery = nursery
        self._nodes: dict[str, SimNode] = {}
        self._change = trio.Event()

    def __repr__(self) -> str:
        return f"<SimCluster {self.name}: {len(self.running)} of {len(self._nodes)} nodes run>"

    @property
    def nodes(self) -> tuple[SimNode, ...]:
        """All nodes ever started, in that order."""
        return tuple(self._nodes.values())

    @property
    def running(self) -> tuple[SimNode, ...]:
        """Those that run now."""
        return tuple(node for node in self._nodes.values() if node.running)

    async def start(
        self,
        count: int,
        *services: Service,
        profile: Profile | str = "lan",
        weight: int = 1,
        zone: str = "",
        skew: float = 0.0,
        drift: float = 0.0,
    ) -> list[SimNode]:
        """Start ``count`` more nodes one after the other; return when the last has joined."""
        setup = NodeSetup(services=services, profile=profile, weight=weight, zone=zone, skew=skew, drift=drift)
        started = []
        for _ in range(count):
            node = SimNode(self, f"n{len(self._nodes) + 1}", setup)
            self._nodes[node.name] = node
            await self.launch(node)
            started.append(node)
        return started

    async def launch(self, node: SimNode) -> None:
        """Start one life of ``node``."""
        await self._nursery.start(node.live, name=f"simulated {node.name}")

    def seeds_for(self, node: SimNode) -> tuple[Address, ...]:
        """The addresses of the first three nodes, without ``node``; of hosts that may never exist, for the first."""
        names = [f"n{number}" for number in range(1, _SEEDS + 1)]
        return tuple(Address(name, DEFAULT_PORT) for name in names if name != node.name)

    # -------------------------------------------------------------------------------------------------- faults

    def partition(self, one: SimNodes, other: SimNodes) -> AbstractContextManager[None]:
        """Nothing passes between the two groups until the block ends."""
        return self.network.partition(_names(one), _names(other))

    def isolate(self, nodes: SimNodes) -> AbstractContextManager[None]:
        """Nothing passes between ``nodes`` and all others until the block ends."""
        return self.network.isolate(_names(nodes))

    # ------------------------------------------------------------------------------------------------ agreement

    def owner_of(self, key: Key, service: Service | str | None = None) -> SimNode:
        """Who owns ``key``, by the word of every running node.

        Raises:
            AssertionError: they disagree, or none runs.
        """
        words = {node.name: node.node.lookup(key, service=service).name for node in self.running}
        assert len(set(words.values())) == 1, f"owner of {key!r}: {words}"
        return self._nodes[next(iter(words.values()))]

    async def settled(self) -> float:
        """Wait until all running nodes see each other, and nobody else, alive, and have the same rings.

        Returns:
            The virtual time it took, in seconds.

        Raises:
            AssertionError: it did not happen within 600 virtual seconds; the text says who sees whom.
        """
        began = trio.current_time()
        with trio.move_on_after(SETTLES_WITHIN):
            while not self._members_agree() or not await self._rings_agree():
                await self._next_change()
            return trio.current_time() - began
        raise AssertionError(f"not settled within {SETTLES_WITHIN:.0f} s: {'; '.join(self._views())}")

    def changed(self) -> None:
        """Somebody's view of the cluster is another one now."""
        change, self._change = self._change, trio.Event()
        change.set()

    async def _next_change(self) -> None:
        await self._change.wait()

    def _members_agree(self) -> bool:
        names = {node.name for node in self.running}
        return all(_alive(node) == names for node in self.running)

    async def _rings_agree(self) -> bool:
        """Wait until every ring has the right number of nodes; False if the membership has changed meanwhile."""
        for service, names in self._expected_rings().items():
            for node in self.running:
                await node.node.wait_ring(service, nodes=len(names))
                if not self._members_agree():
                    return False
        return True

    def _expected_rings(self) -> dict[str, set[str]]:
        rings: dict[str, set[str]] = {}
        for node in self.running:
            for service in node.setup.services:
                if node.setup.weight:
                    rings.setdefault(service.name, set()).add(node.name)
        return rings

    def _views(self) -> Iterator[str]:
        for node in self.running:
            rings = (f"{service} on {', '.join(node.node.ring(service).nodes)}" for service in self._expected_rings())
            yield " and ".join([f"{node.name} sees {', '.join(sorted(_alive(node)))}", *rings])


def _alive(node: SimNode) -> set[str]:
    return {member.name for member in node.node.members if member.status is Status.ALIVE}


def _names(nodes: SimNodes) -> list[str]:
    return [nodes.name] if isinstance(nodes, SimNode) else [node.name for node in nodes]


@asynccontextmanager
async def open_sim_cluster(
    *,
    name: str = "simulated",
    seed: int | None = None,
    latency: Latency = LAN,
    secret: bytes | Sequence[bytes] | None = None,
    seal: str = "require",
) -> AsyncIterator[SimCluster]:
    """A cluster without nodes on a network of its own; when the block ends, its nodes are killed.

    Args:
        name: of the cluster.
        seed: of the network; None for the seed of the running simulation.
        latency: of every packet, unless a fault says otherwise.
        secret: the key of a sealed cluster, or several.
        seal: what its nodes seal, and take, as for `open_node`.
    """
    async with open_simulated_network(seed=seed, latency=latency) as network, trio.open_nursery() as nursery:
        cluster = SimCluster(network, nursery, name=name, secret=secret, seal=seal)
        yield cluster
        for node in cluster.running:
            node.crash()
