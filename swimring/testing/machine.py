"""One simulated machine and the node that runs on it: killed, stopped, slowed, drained and started again at will."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import ConfigError
from swimring.identity import DEFAULT_PORT
from swimring.node import open_node
from swimring.ownership import RangesGained, RangesLost
from swimring.swim import Profile, Resynced

from .host import Clock
from .leaks import left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from swimring.node import Node, NodeEvent
    from swimring.service import Service

    from .backends import Beside
    from .cluster import SimCluster
    from .disk import SimulatedDisk
    from .fabric import Life

STARTS_WITHIN: Final = 0.25
"""Seconds that a restarted process takes before it runs."""


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
        gradual: whether it takes its keys in steps, as for `open_node`.
        restart_hold: seconds for which its place is kept.
        beside: what runs beside the node while it takes part.
    """

    services: tuple[Service, ...] = ()
    profile: Profile | str = "lan"
    weight: int = 1
    zone: str = ""
    skew: float = 0.0
    drift: float = 0.0
    gradual: bool | None = None
    restart_hold: int = 0
    beside: Beside | None = None


class SimNode:
    """One simulated machine and the node that runs on it, over all its lives.

    Attributes:
        name: of the node and of its host, n1, n2 and so on.
        setup: what each life is started with.
        clock: of the machine; see `SimCluster.clock_skew` and `SimCluster.clock_drift`.
    """

    def __init__(self, cluster: SimCluster, name: str, setup: NodeSetup) -> None:
        """Made by `SimCluster.start`."""
        self.name = name
        self.setup = setup
        self.clock = Clock(skew=setup.skew, drift=setup.drift)
        self._cluster = cluster
        self._node: Node | None = None
        self._killed = False
        self.killed_at: float | None = None
        """When the life that is ending was killed, in virtual seconds."""
        self.left_behind: list[str] = []
        """What of its last life is still there, in words; see `swimring.testing.nothing_leaks`."""
        self._life: Life | None = None
        self._paused = False
        self._farewell = trio.Event()
        self._over = trio.Event()
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<SimNode {self.name}, {'paused' if self.paused else 'running' if self.running else 'down'}>"

    @property
    def running(self) -> bool:
        """Whether its process runs and takes part."""
        return self._node is not None and not self._killed

    @property
    def paused(self) -> bool:
        """Whether its process runs, but is stopped."""
        return self._paused and self.running

    @property
    def node(self) -> Node:
        """The node of the current life.

        Raises:
            ConfigError: it is not running.
        """
        if self._node is None or self._killed:
            raise _not_running(self.name)
        return self._node

    @property
    def disk(self) -> SimulatedDisk:
        """What its machine keeps, over all its lives; handlers reach it as ``node.store``."""
        return self._cluster.disks.of(self.name)

    def crash(self) -> None:
        """Kill the process, as SIGKILL does: no farewell; peers see resets, dialling it is refused.

        The machine stays, and with it all that was written, synced or not.
        """
        self._kill("killed")
        self._cluster.network.crash(self.name)

    def freeze(self) -> None:
        """Lose the machine: no farewell, and nobody is told anything by anybody; what was not synced is lost."""
        self._kill("machine lost")
        self._cluster.network.freeze(self.name)

    def pause(self) -> None:
        """Stop the process, as SIGSTOP or a long garbage collection does; nothing happens if it is stopped already.

        Its kernel goes on: buffers fill, connections are accepted. Its timers fire when it goes on.

        Raises:
            ConfigError: it is not running.
        """
        if not self.running:
            raise _not_running(self.name)
        if not self._paused:
            self._paused = True
            self._cluster.gate.stop(self.name)
            self._cluster.history.note_fault(f"pause {self.name}")

    def resume(self) -> None:
        """Let a stopped process go on; nothing happens if it is not stopped."""
        if self._paused:
            self._paused = False
            self._cluster.gate.go_on(self.name)
            self._cluster.history.note_fault(f"resume {self.name}")

    @contextlib.contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Within the block its event loop is that late: each of its tasks runs ``seconds`` after it should.

        Raises:
            ConfigError: it is slow already.
        """
        late = self._cluster.gate.late(self.name, seconds)
        with self._cluster.history.during(f"{self.name} is {seconds:g} s slow"), late:
            yield

    async def drain(self) -> None:
        """Stop in good order, as SIGTERM does; return when the process has ended.

        Raises:
            ConfigError: it is not running.
        """
        if not self.running:
            raise _not_running(self.name)
        self._cluster.history.note_fault(f"drain {self.name}")
        self._farewell.set()
        await self._over.wait()
        self._cluster.network.crash(self.name)  # nothing is open any more; the next life is a new one

    async def restart(self, *, data: bool = True) -> Node:
        """Start the next life of a node that is down, under its old name; return when it has joined.

        Args:
            data: whether it finds what is on its disk; without, it starts with an empty one.

        Raises:
            ConfigError: it is running.
        """
        if self.running:
            raise ConfigError("node", self.name, "this node is running: crash it first, or let it leave")
        await self._over.wait()
        await trio.sleep(STARTS_WITHIN)
        self._cluster.history.note_fault(f"restart {self.name}{'' if data else ' without its data'}")
        if not data:
            self.disk.wipe()
        await self._cluster.launch(self)
        return self.node

    def _kill(self, how: str) -> None:
        # Cancelled before its sockets close, it ends by cancellation and not by errors of its sockets.
        self.node.hurry()
        self._killed, self.killed_at = True, trio.current_time()
        self._scope.cancel()
        self._paused = False
        self._cluster.gate.go_on(self.name)  # nothing else could end it
        self._cluster.history.note_fault(f"{self.name} {how}")

    async def live(self, *, task_status: trio.TaskStatus[None]) -> None:
        """One life, from start to end."""
        self._farewell, self._over = trio.Event(), trio.Event()
        self._killed, self.left_behind = False, []
        try:
            with trio.CancelScope() as self._scope:
                await self._be_a_node(task_status)
        except* Exception:
            if not self._killed:  # what a killed process runs into does not matter to anybody
                raise
        finally:
            self._node = self.killed_at = None
            if self._killed or self._farewell.is_set():  # else it has failed, and with it the test
                self.left_behind = left_behind(self.name, self._life, drained=not self._killed)
            self._over.set()
            self._cluster.history.stir()

    async def _be_a_node(self, task_status: trio.TaskStatus[None]) -> None:
        setup, cluster = self.setup, self._cluster
        network, host = cluster.network.at(self.name), cluster.network.host(self.name)
        host.clock = self.clock
        self._life = network.life
        network.private = True  # so that no node warns of listeners in between
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
                gradual=setup.gradual,
                restart_hold=setup.restart_hold,
                insecure=True,
                secret=cluster.secret,
                seal=cluster.seal,
                state=cluster.disks.store(network.life),
                network=network,
                host=host,
            ) as node,
            node.events() as events,
            trio.open_nursery() as nursery,
        ):

            async def watch() -> None:
                async for event in events:
                    cluster.history.note(self.name, _in_words(event))
                    cluster.changed()

            nursery.start_soon(watch)
            if setup.beside is not None:
                nursery.start_soon(setup.beside, node)
            self._node = node
            task_status.started()
            cluster.history.stir()
            await self._farewell.wait()
            nursery.cancel_scope.cancel()


def _in_words(event: NodeEvent) -> str:
    if isinstance(event, RangesLost | RangesGained):
        return f"{'lost' if isinstance(event, RangesLost) else 'gained'} {event.share:.0%} of {event.service}"
    if isinstance(event, Resynced):
        return "resynced"
    what = type(event).__name__.removeprefix("Member").lower()
    return f"{event.member.name} {what}"


def _not_running(name: str) -> ConfigError:
    return ConfigError("node", name, "this node is not running")
