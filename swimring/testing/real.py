"""A cluster of real processes on this machine's loopback, with the methods of a simulated one.

Time is real: `trio.sleep(30)` takes half a minute. The test itself is a member, of weight 0, through which it calls and
sees; what every node believes it is told by the node. What cannot be done to processes skips the test.
"""

from __future__ import annotations

import secrets
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from swimring.errors import ConfigError
from swimring.node import Node, open_node
from swimring.swim import Status

from .child import ChildSetup
from .history import History
from .importable import Importable
from .impossible import Impossible, skip
from .load import open_load
from .process import RealNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Key
    from swimring.service import Service
    from swimring.swim import Profile

    from .backends import Beside
    from .breaking import FaultBlock
    from .load import Action, Check, Load

T = TypeVar("T")

SETTLES_WITHIN: Final = 120.0
"""Seconds after which a cluster that does not agree is called stuck."""

_OBSERVER: Final = "test"
_LISTEN: Final = "127.0.0.1:0"
_RINGS_FOLLOW_WITHIN: Final = 0.6  # a node's ring waits for bursts of news to end, half a second at most


class Observer:
    """The test's own node: a member that owns nothing."""

    name: Final = _OBSERVER

    def __init__(self) -> None:
        """It opens with the first nodes, because it has their profile."""
        self._node: Node | None = None

    @property
    def running(self) -> bool:
        """Whether it is open."""
        return self._node is not None

    @property
    def node(self) -> Node:
        """The node.

        Raises:
            ConfigError: nothing was started yet.
        """
        if self._node is None:
            raise ConfigError("cluster", None, "no node was started yet")
        return self._node

    async def live(self, cluster: RealCluster, profile: Profile | str, *, task_status: trio.TaskStatus[None]) -> None:
        """Be a member until cancelled."""
        async with (
            open_node(
                cluster=cluster.name,
                name=self.name,
                listen=_LISTEN,
                profile=profile,
                weight=0,
                secret=cluster.secret or None,
                seal=cluster.seal,
                drain_within=0.0,
            ) as self._node,
            self._node.events() as events,
        ):
            task_status.started()
            async for _ in events:
                cluster.changed()


class RealCluster(Impossible):
    """Nodes n1, n2, ... in processes of their own; opened by `open_real_cluster`.

    Attributes:
        history: what was done to them so far, in words.
        name: of the cluster, unique to this run.
        seed: of the dice that say when a load makes its calls.
        observer: the test's own node.
        secret: the keys of the cluster.
        seal: as for `open_node`.
        place: where each node has a directory of its own.
    """

    if TYPE_CHECKING:
        partition: Callable[..., FaultBlock]
        isolate: Callable[..., FaultBlock]
        one_way: Callable[..., FaultBlock]
        loss: Callable[..., FaultBlock]
        latency: Callable[..., FaultBlock]
        check: Callable[..., None]

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        name: str,
        seed: int,
        secret: bytes | Sequence[bytes] | None,
        seal: str,
        place: Path,
    ) -> None:
        """No nodes yet."""
        self.name = f"{name}-{secrets.token_hex(4)}"  # nobody else's nodes on this machine belong to it
        self.seed = seed
        self.history = History(began=trio.current_time())
        self.observer = Observer()
        self.secret = [secret] if isinstance(secret, bytes) else list(secret or ())
        self.seal = seal
        self.place = place
        self._nursery = nursery
        self._nodes: dict[str, RealNode] = {}
        self._services: set[str] = set()
        self._change = trio.Event()

    def __repr__(self) -> str:
        return f"<RealCluster {self.name}: {len(self.running)} of {len(self._nodes)} processes run>"

    @property
    def nodes(self) -> tuple[RealNode, ...]:
        """All nodes ever started, in that order."""
        return tuple(self._nodes.values())

    @property
    def running(self) -> tuple[RealNode, ...]:
        """Those that run now, also if they are paused."""
        return tuple(node for node in self._nodes.values() if node.running)

    @property
    def awake(self) -> tuple[RealNode, ...]:
        """Those that run now and are not paused."""
        return tuple(node for node in self.running if not node.paused)

    @property
    def askers(self) -> tuple[Observer, ...]:
        """Who a load makes its calls from: the test's own process."""
        return (self.observer,)

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
    ) -> list[RealNode]:
        """Start ``count`` more processes at once; return when all have joined.

        They import ``services`` and ``beside``; if that cannot be done the test is skipped.
        """
        for name, value in (("skew", skew), ("drift", drift)):
            if value:
                skip(name)
        imported = tuple(_importable(service) for service in services)
        runs_beside = None if beside is None else _importable(beside)
        if not self.observer.running:
            await self._nursery.start(self.observer.live, self, profile)
        self._services |= {service.name for service in services}

        def setup(name: str) -> ChildSetup:
            return ChildSetup(
                services=imported,
                beside=runs_beside,
                profile=profile,
                secret=tuple(key.hex() for key in self.secret),
                settings={
                    "cluster": self.name,
                    "name": name,
                    "listen": _LISTEN,
                    "join": [str(self.observer.node.me.address)],
                    "weight": weight,
                    "zone": zone,
                    "seal": self.seal,
                    "state": str(self.place / name),
                },
            )

        names = [f"n{len(self._nodes) + number}" for number in range(1, count + 1)]
        started = [RealNode(self, name, partial(setup, name)) for name in names]
        self._nodes.update(zip(names, started, strict=True))
        async with trio.open_nursery() as nursery:
            for node in started:
                nursery.start_soon(self.launch, node)
        return started

    async def launch(self, node: RealNode) -> None:
        """Start one life of ``node``."""
        await self._nursery.start(node.live)

    # ------------------------------------------------------------------------------------------------ agreement

    def owner_of(self, key: Key, service: Service | str | None = None) -> RealNode:
        """Who owns ``key``, by the word of every node that runs and is not paused.

        Raises:
            AssertionError: they disagree, or none runs.
        """
        words = self.owners_of(key, service)
        assert len(set(words.values())) == 1, f"owner of {key!r}: {words}"
        return self._nodes[next(iter(words.values()))]

    def owners_of(self, key: Key, service: Service | str | None = None) -> dict[str, str]:
        """Who owns ``key``: the word of every node that runs and is not paused, by its name.

        Raises:
            ConfigError: no service is named, and it is not clear which one is meant.
        """
        name = service if isinstance(service, str) else self._only_service() if service is None else service.name
        return {node.name: node.ring(name).lookup(key) or "" for node in self.awake}

    def _only_service(self) -> str:
        if len(self._services) != 1:
            raise ConfigError("service", None, f"name one of: {', '.join(sorted(self._services)) or 'none'}")
        return next(iter(self._services))

    async def settled(self) -> float:
        """Wait until all `awake` nodes see each other, and nobody else but the test, alive, and rings have followed.

        Returns:
            The seconds it took.

        Raises:
            AssertionError: it did not happen within 120 s; the text says who sees whom.
        """
        began = trio.current_time()
        with trio.move_on_after(SETTLES_WITHIN):
            while True:
                while not self._members_agree():
                    await self._change.wait()
                with trio.move_on_after(_RINGS_FOLLOW_WITHIN):
                    while self._members_agree():
                        await self._change.wait()
                if self._members_agree():
                    return trio.current_time() - began
        raise AssertionError(f"not settled within {SETTLES_WITHIN:.0f} s: {'; '.join(self._views())}")

    def _members_agree(self) -> bool:
        names = {node.name for node in self.awake} | {_OBSERVER}
        return all(seen == names for seen in self._seen().values())

    def _seen(self) -> dict[str, set[str]]:
        members = self.observer.node.members
        mine = {member.name for member in members if member.status is Status.ALIVE}
        return {_OBSERVER: mine, **{node.name: node.sees_alive() for node in self.awake}}

    def _views(self) -> list[str]:
        return [f"{name} sees {', '.join(sorted(seen)) or 'nobody yet'}" for name, seen in self._seen().items()]

    def changed(self) -> None:
        """Somebody's view of the cluster is another one now."""
        change, self._change = self._change, trio.Event()
        change.set()

    def happened(self, text: str) -> None:
        """Something was done to the cluster, now."""
        self.history.note_fault(text)
        self.changed()

    # ----------------------------------------------------------------------------------------------------- load

    def load(
        self,
        action: Action[T],
        *,
        rate: float,
        check: Check[T] | None = None,
        patience: float = 60.0,
    ) -> AbstractAsyncContextManager[Load[T]]:
        """As `SimCluster.load`, in seconds of this world; all calls are made by the test's own node.

        Raises:
            ConfigError: rate or patience is not above 0.
        """
        return open_load(self, action, rate=rate, check=check, patience=patience)


def _importable(thing: object) -> Importable:
    try:
        return Importable.of(thing)
    except ConfigError as error:
        skip(repr(thing), because=str(error))


@asynccontextmanager
async def open_real_cluster(
    *,
    name: str = "real",
    seed: int = 0,
    secret: bytes | Sequence[bytes] | None = None,
    seal: str = "require",
    **others: object,
) -> AsyncIterator[RealCluster]:
    """A cluster without nodes; when the block ends, its processes are killed, whatever happened.

    Args:
        name: of the cluster; something unique is appended.
        seed: of the dice of its loads; nothing else repeats.
        secret: the key of a sealed cluster, or several.
        seal: what its nodes seal, and take, as for `open_node`.
        others: what only a simulation can be opened with: it skips the test.
    """
    for setting in others:
        skip(setting)
    with tempfile.TemporaryDirectory(prefix="swimring-real-") as place:
        async with trio.open_nursery() as nursery:
            yield RealCluster(nursery, name=name, seed=seed, secret=secret, seal=seal, place=Path(place))
            nursery.cancel_scope.cancel()
