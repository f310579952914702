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

import contextvars
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from swimring.identity import DEFAULT_PORT, Address
from swimring.swim import Profile, Status

from .breaking import Faults
from .disk import Disks
from .gate import Gate, belonging_to
from .history import History
from .invariants import find_broken
from .leaks import nothing_leaks
from .leftovers import leftovers
from .load import open_load
from .machine import NodeSetup, SimNode
from .network import LAN, open_simulated_network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key
    from swimring.service import Service

    from .backends import Beside
    from .faults import Latency
    from .invariants import Invariant, InvariantBroken
    from .load import Action, Check, Load
    from .network import SimulatedNetwork

T = TypeVar("T")

SETTLES_WITHIN: Final = 600.0
"""Virtual seconds after which a cluster that does not agree is called stuck."""

_SEEDS: Final = 3


class SimCluster(Faults):
    """Nodes n1, n2, ... of one cluster on one simulated network; opened by `open_sim_cluster`.

    Attributes:
        network: what they talk over.
        history: the faults so far, and the last events of each node.
        disks: what the machines keep, over all lives.
        gate: holds the tasks of nodes that are paused or slow.
        name: of the cluster.
        secret: what each life is started with from now on; keys of lives under way change by ``ns: swimring``.
        seal: the same, as for `open_node`.
    """

    def __init__(
        self,
        network: SimulatedNetwork,
        gate: Gate,
        nursery: trio.Nursery,
        *,
        name: str,
        secret: bytes | Sequence[bytes] | None = None,
        seal: str = "require",
    ) -> None:
        """No nodes yet."""
        self.network = network
        self.disks = Disks(network.seed, network.trace)
        self.history = History()
        self.history.on_fault = self.changed
        self.gate = gate
        self.name = name
        self.secret = secret
        self.seal = seal
        self._nursery = nursery
        self._nodes: dict[str, SimNode] = {}
        self._change = trio.Event()
        self._invariants: list[Invariant] = []
        self._broken: InvariantBroken | None = None
        self._asking = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<SimCluster {self.name}: {len(self.running)} of {len(self._nodes)} nodes run>"

    @property
    def nodes(self) -> tuple[SimNode, ...]:
        """All nodes ever started, in that order."""
        return tuple(self._nodes.values())

    @property
    def running(self) -> tuple[SimNode, ...]:
        """Those that run now, also if they are paused."""
        return tuple(node for node in self._nodes.values() if node.running)

    @property
    def seed(self) -> int:
        """Of its network, and of its loads."""
        return self.network.seed

    @property
    def askers(self) -> tuple[SimNode, ...]:
        """Those that a load makes its calls from."""
        return self.awake

    @property
    def awake(self) -> tuple[SimNode, ...]:
        """Those that run now and are not paused."""
        return tuple(node for node in self.running if not node.paused)

    @property
    def quiet_for(self) -> float:
        """Virtual seconds since anything was done to the cluster; 0 while a fault is in force or a node is paused."""
        return self.history.quiet_for if self.awake == self.running else 0.0

    async def start(
        self,
        count: int,
        *services: Service,
        beside: Beside | None = None,
        profile: Profile | str = "lan",
        weight: int = 1,
        zone: str = "",
        skew: float = 0.0,
        drift: float = 0.0,
        gradual: bool | None = None,
        restart_hold: int = 0,
    ) -> list[SimNode]:
        """Start ``count`` more nodes one after the other; return when the last has joined.

        ``beside(node)`` runs beside each of them, in every life: from when it has joined, cancelled before it leaves.
        """
        setup = NodeSetup(
            services=services, profile=profile, weight=weight, zone=zone, skew=skew, drift=drift, beside=beside,
            gradual=gradual, restart_hold=restart_hold,
        )  # fmt: skip
        started = []
        for _ in range(count):
            node = SimNode(self, f"n{len(self._nodes) + 1}", setup)
            self._nodes[node.name] = node
            await self.launch(node)
            started.append(node)
        return started

    async def launch(self, node: SimNode) -> None:
        """Start one life of ``node``."""
        with belonging_to(node.name):
            await self._nursery.start(node.live, name=f"simulated {node.name}")

    def seeds_for(self, node: SimNode) -> tuple[Address, ...]:
        """The addresses of the first three nodes, without ``node``; of hosts that may never exist, for the first."""
        names = [f"n{number}" for number in range(1, _SEEDS + 1)]
        return tuple(Address(name, DEFAULT_PORT) for name in names if name != node.name)

    # ------------------------------------------------------------------------------------------------ agreement

    def owner_of(self, key: Key, service: Service | str | None = None) -> SimNode:
        """Who owns ``key``, by the word of every node that runs and is not paused.

        Raises:
            AssertionError: they disagree, or none runs.
        """
        words = self.owners_of(key, service)
        assert len(set(words.values())) == 1, f"owner of {key!r}: {words}"
        return self._nodes[next(iter(words.values()))]

    def owners_of(self, key: Key, service: Service | str | None = None) -> dict[str, str]:
        """Who owns ``key``: the word of every node that runs and is not paused, by its name."""
        return {node.name: node.node.lookup(key, service=service).name for node in self.awake}

    async def settled(self) -> float:
        """Wait until all `awake` nodes see each other, and nobody else, alive, and have the same rings.

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
        """Somebody's view of the cluster is another one now: ask the invariants."""
        change, self._change = self._change, trio.Event()
        change.set()
        if self._broken is None:
            self._broken = find_broken(self._invariants, self, now=trio.current_time())
            if self._broken is not None:
                # A task of the cluster's own: one that belonged to the node of this moment could be paused with it.
                contextvars.Context().run(self._nursery.start_soon, _fail, self._broken)
                self.history.note_fault(f"the rule {self._broken.name} is broken")

    # ------------------------------------------------------------------------------------------- load and rules

    def load(
        self,
        action: Action[T],
        *,
        rate: float,
        check: Check[T] | None = None,
        patience: float = 60.0,
    ) -> AbstractAsyncContextManager[Load[T]]:
        """Calls at random moments from random nodes while the block runs; it ends when all of them have.

        ``action(node, number)`` makes one call, and what it returns counts as acknowledged. ``check(node, number,
        value)`` is asked for each of those when the cluster has settled in the end: what is not there any more is lost.

        Args:
            action: makes a call.
            rate: calls per virtual second, on average.
            check: whether what was acknowledged is still there.
            patience: virtual seconds after which a call is given up.

        Raises:
            ConfigError: rate or patience is not above 0.
        """
        return open_load(self, action, rate=rate, check=check, patience=patience, ended=self.changed)

    def check(self, *invariants: Invariant) -> None:
        """From now on each of ``invariants`` has to hold at every event; the first that does not fails the test.

        Events are: a node sees the cluster in another way, starts or ends; a fault begins or ends; a call of a load has
        ended; a virtual second has passed.
        """
        if not self._invariants:
            contextvars.Context().run(self._nursery.start_soon, self._ask_each_second)
        self._invariants += invariants
        self.changed()

    def stop_asking(self) -> None:
        """The invariants have held up to the end."""
        self._invariants.clear()
        self._asking.cancel()

    def ask_for_the_last_time(self, rules: Iterable[Invariant]) -> None:
        """All nodes have ended.

        Raises:
            InvariantBroken: one of ``rules`` does not hold.
        """
        broken = find_broken(rules, self, now=trio.current_time())
        if broken is not None:
            raise broken

    async def nothing_left(self, *, after: float = 2.0) -> None:
        """Wait until it is settled and for ``after`` virtual seconds more; then nothing may be under way on any node.

        Raises:
            AssertionError: calls, streams, tasks, connections or credit are left; or it did not settle.
        """
        await self.settled()
        await trio.sleep(after)
        await self.settled()
        left = [f"{node.name}: {what}" for node in self.running for what in leftovers(node)]
        assert not left, "\n".join(["something is left:", *left])

    def disagreements(self) -> list[str]:
        """Who sees whom alive, and what rings it has, a line for each node; nothing if all see the same, rightly."""
        rings = self._expected_rings()
        agree = self._members_agree() and all(
            set(node.node.ring(service).nodes) == names for service, names in rings.items() for node in self.awake
        )
        return [] if agree else list(self._views())

    async def _ask_each_second(self) -> None:
        with self._asking:
            while True:
                await trio.sleep(1)
                self.changed()

    async def _next_change(self) -> None:
        await self._change.wait()

    def _members_agree(self) -> bool:
        names = {node.name for node in self.awake}
        return all(_alive(node) == names for node in self.awake)

    async def _rings_agree(self) -> bool:
        """Wait until every ring has the right number of nodes; False if the membership has changed meanwhile."""
        for service, names in self._expected_rings().items():
            for node in self.awake:
                await node.node.wait_ring(service, nodes=len(names))
                if not self._members_agree():
                    return False
        return True

    def _expected_rings(self) -> dict[str, set[str]]:
        rings: dict[str, set[str]] = {}
        for node in self.awake:
            for service in node.setup.services:
                if node.setup.weight:
                    rings.setdefault(service.name, set()).add(node.name)
        return rings

    def _views(self) -> Iterator[str]:
        for node in self.awake:
            rings = (f"{service} on {', '.join(node.node.ring(service).nodes)}" for service in self._expected_rings())
            yield " and ".join([f"{node.name} sees {', '.join(sorted(_alive(node)))}", *rings])


def _alive(node: SimNode) -> set[str]:
    return {member.name for member in node.node.members if member.status is Status.ALIVE}


async def _fail(broken: InvariantBroken) -> None:
    raise broken


@asynccontextmanager
async def open_sim_cluster(
    *,
    name: str = "simulated",
    seed: int | None = None,
    latency: Latency = LAN,
    secret: bytes | Sequence[bytes] | None = None,
    seal: str = "require",
    rules: Iterable[Invariant] | None = None,
) -> AsyncIterator[SimCluster]:
    """A cluster without nodes on a network of its own; when the block ends, its nodes are killed.

    Args:
        name: of the cluster.
        seed: of the network; None for the seed of the running simulation.
        latency: of every packet, unless a fault says otherwise.
        secret: the key of a sealed cluster, or several.
        seal: what its nodes seal, and take, as for `open_node`.
        rules: what has to hold from the start, as for `SimCluster.check`, and when all nodes have ended; None for
            `nothing_leaks`.
    """
    chosen = (nothing_leaks(),) if rules is None else tuple(rules)
    async with open_simulated_network(seed=seed, latency=latency) as network:
        gate = Gate(network.fabric.post)
        with gate.installed():
            async with trio.open_nursery() as nursery:
                cluster = SimCluster(network, gate, nursery, name=name, secret=secret, seal=seal)
                if chosen:
                    cluster.check(*chosen)
                yield cluster
                cluster.stop_asking()
                for node in cluster.running:
                    node.crash()
            cluster.ask_for_the_last_time(chosen)
