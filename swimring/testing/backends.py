"""What a test can ask of a cluster, whichever it gets: simulated (`SimCluster`), or of real processes (`RealCluster`).

Annotate the fixture with `Cluster` in a test that runs on both. What a back-end cannot do skips the test and says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key
    from swimring.node import Node
    from swimring.service import Service
    from swimring.swim import Profile

    from .breaking import FaultBlock
    from .invariants import Invariant
    from .load import Action, Check, Load

T = TypeVar("T")

Beside: TypeAlias = "Callable[[Node], Awaitable[None]]"
"""What runs beside a node from when it has joined; it is cancelled before the node leaves, and dies with it."""


class Asker(Protocol):
    """Whoever calls can be made from."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        ...

    @property
    def node(self) -> Node:
        """What calls are made from."""
        ...


class ClusterNode(Asker, Protocol):
    """One node over all its lives.

    `node` is the node itself in a simulation. With real processes it is a node of the test's own process, a member
    that owns no keys: what is called from it goes to the same owners, but it looks at the cluster with its own eyes.
    """

    @property
    def paused(self) -> bool:
        """Whether its process runs, but is stopped."""
        ...

    def crash(self) -> None:
        """Kill the process, as SIGKILL does."""
        ...

    def pause(self) -> None:
        """Stop the process, as SIGSTOP does."""
        ...

    def resume(self) -> None:
        """Let a stopped process go on."""
        ...

    async def drain(self) -> None:
        """Stop in good order, as SIGTERM does; return when the process has ended."""
        ...

    async def restart(self, *, data: bool = True) -> Node:
        """Start the next life of a node that is down, under its old name; return when it has joined.

        With ``data`` it finds its files (`Node.store`), without they are gone.
        """
        ...


Nodes: TypeAlias = ClusterNode | Iterable[ClusterNode]
"""One node, or several."""


class Cluster(Protocol):
    """The nodes n1, n2, ... of one cluster, and what can be done to them; see `SimCluster` for each method."""

    name: str

    @property
    def nodes(self) -> Sequence[ClusterNode]:
        """All nodes ever started, in that order."""
        ...

    @property
    def running(self) -> Sequence[ClusterNode]:
        """Those that run now, also if they are paused."""
        ...

    @property
    def awake(self) -> Sequence[ClusterNode]:
        """Those that run now and are not paused."""
        ...

    async def start(
        self,
        count: int,
        *services: Service,
        beside: Beside | None = None,
        profile: Profile | str = "lan",
        weight: int = 1,
        zone: str = "",
    ) -> Sequence[ClusterNode]:
        """Start ``count`` more nodes; return when all have joined."""
        ...

    def owner_of(self, key: Key, service: Service | str | None = None) -> ClusterNode:
        """Who owns ``key``, by the word of every node that runs and is not paused; they have to agree."""
        ...

    def owners_of(self, key: Key, service: Service | str | None = None) -> dict[str, str]:
        """Who owns ``key``: the word of every node that runs and is not paused, by its name."""
        ...

    async def settled(self) -> float:
        """Wait until all `awake` nodes see each other, and nobody else, alive, and have the same rings."""
        ...

    def load(
        self, action: Action[T], *, rate: float, check: Check[T] | None = None, patience: float = 60.0
    ) -> AbstractAsyncContextManager[Load[T]]:
        """Calls at random moments while the block runs."""
        ...

    def check(self, *invariants: Invariant) -> None:
        """From now on each of ``invariants`` has to hold at every event."""
        ...

    def partition(self, one: Nodes, other: Nodes) -> FaultBlock:
        """Nothing passes between the two groups; others reach both."""
        ...

    def isolate(self, nodes: Nodes) -> FaultBlock:
        """Nothing passes between ``nodes`` and all others."""
        ...

    def one_way(self, source: Nodes, target: Nodes) -> FaultBlock:
        """Nothing passes from ``source`` to ``target``; the other direction works."""
        ...

    def loss(self, probability: float, nodes: Nodes | None = None) -> FaultBlock:
        """Datagrams are lost with this probability, segments and handshakes late."""
        ...

    def latency(self, low: float, high: float, nodes: Nodes | None = None) -> FaultBlock:
        """Packets travel ``low`` to ``high`` seconds."""
        ...
