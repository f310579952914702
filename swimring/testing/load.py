"""Load in virtual time: calls at a rate from random nodes, and what became of each.

async with cluster.load(write, rate=20, check=read) as load:
    ...break things...
assert load.lost == 0 and load.failed_unexplained == 0
"""

from __future__ import annotations

import enum
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

import trio

from swimring.errors import CallError, ConfigError, NodeClosed

from .simulation import dice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from swimring.node import Node

    from .backends import Asker

T = TypeVar("T")


class UnderLoad(Protocol):
    """What a load asks of its cluster."""

    @property
    def askers(self) -> Sequence[Asker]:
        """Who can make calls now."""
        ...

    @property
    def seed(self) -> int:
        """Of the dice that say when which call is made."""
        ...

    async def settled(self) -> float:
        """Wait until the cluster agrees."""
        ...


Action: TypeAlias = "Callable[[Node, int], Awaitable[T]]"
"""Makes call number so-and-so from a node; what it returns is what was acknowledged."""

Check: TypeAlias = "Callable[[Node, int, T], Awaitable[bool]]"
"""Whether what call number so-and-so had acknowledged is still there, asked from a node."""

_MOST_UNDER_WAY: Final = 10_000


class Outcome(enum.Enum):
    """What became of a call."""

    ACKNOWLEDGED = "it returned"
    FAILED = "it raised a CallError, which says why and whether it may have run"
    UNEXPLAINED = "it raised anything else"
    UNFINISHED = "it had not returned when its patience ended"
    VOID = "the node that made it was killed or left: nobody was there to hear the answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Generic[T]):
    """One call of a load.

    Attributes:
        number: counts up from 0.
        asker: the name of the node that made it.
        began: when, in virtual seconds.
        latency: how long it took, in virtual seconds.
        outcome: what became of it.
        value: what it returned.
        error: what it raised.
    """

    number: int
    asker: str
    began: float
    latency: float
    outcome: Outcome
    value: T | None = None
    error: Exception | None = None


class Load(Generic[T]):
    """The calls so far, one record each; all of them are kept."""

    def __init__(self, cluster: UnderLoad, action: Action[T], *, patience: float, ended: Callable[[], object]) -> None:
        """Made by `SimCluster.load`."""
        self.records: list[Record[T]] = []
        """In the order in which they ended."""
        self.lost_numbers: list[int] = []
        """The numbers of acknowledged calls whose check failed, when the block has ended."""
        self._cluster = cluster
        self._action = action
        self._patience = patience
        self._ended = ended

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {outcome.name.lower()}" for outcome, count in self.outcomes.items())
        return f"<Load: {counts or 'no calls'}, {self.lost} lost>"

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many calls ended how."""
        return Counter(record.outcome for record in self.records)

    @property
    def acknowledged(self) -> int:
        """How many calls returned."""
        return self.outcomes[Outcome.ACKNOWLEDGED]

    @property
    def failed(self) -> int:
        """How many calls did not return although their node lived."""
        outcomes = self.outcomes
        return outcomes[Outcome.FAILED] + outcomes[Outcome.UNEXPLAINED] + outcomes[Outcome.UNFINISHED]

    @property
    def failed_unexplained(self) -> int:
        """How many calls failed with an error that is no `CallError`, or did not end in time."""
        return self.outcomes[Outcome.UNEXPLAINED] + self.outcomes[Outcome.UNFINISHED]

    @property
    def lost(self) -> int:
        """How many acknowledged calls were gone at the end; known when the block has ended."""
        return len(self.lost_numbers)

    def latencies(self) -> list[float]:
        """The virtual seconds that acknowledged calls took, in ascending order."""
        return sorted(record.latency for record in self.records if record.outcome is Outcome.ACKNOWLEDGED)

    def latency(self, share: float) -> float:
        """The virtual seconds within which that share of the acknowledged calls returned: 0.99 for p99.

        Raises:
            ConfigError: it is no share, or no call returned.
        """
        latencies = self.latencies()
        if not 0 < share <= 1 or not latencies:
            raise ConfigError("share", share, "more than 0, at most 1, of at least one call that returned")
        return latencies[min(len(latencies) - 1, round(share * len(latencies) + 0.5) - 1)]

    async def call(self, asker: Asker, number: int) -> None:
        """Make one call and record what became of it."""
        node, began = asker.node, trio.current_time()
        outcome, value = Outcome.UNFINISHED, None
        error: Exception | None = None
        try:
            with trio.move_on_after(self._patience):
                value = await self._action(node, number)
                outcome = Outcome.ACKNOWLEDGED
        except CallError as raised:
            outcome, error = Outcome.FAILED, raised
        except Exception as raised:  # noqa: BLE001 - whatever an application raises is an outcome here
            outcome, error = Outcome.UNEXPLAINED, raised
        if outcome is not Outcome.ACKNOWLEDGED and (isinstance(error, NodeClosed) or not _lives(asker, node)):
            outcome = Outcome.VOID
        self.records.append(
            Record(
                number=number,
                asker=asker.name,
                began=began,
                latency=trio.current_time() - began,
                outcome=outcome,
                value=value,
                error=error,
            )
        )
        self._ended()

    async def look_for_losses(self, check: Check[Any]) -> None:
        """Ask for everything that was acknowledged, from the first node that runs."""
        node = self._cluster.askers[0].node
        for record in self.records:
            if record.outcome is Outcome.ACKNOWLEDGED and not await check(node, record.number, record.value):
                self.lost_numbers.append(record.number)


@asynccontextmanager
async def open_load(
    cluster: UnderLoad,
    action: Action[T],
    *,
    rate: float,
    check: Check[T] | None,
    patience: float,
    ended: Callable[[], object] = lambda: None,
) -> AsyncIterator[Load[T]]:
    """See `SimCluster.load`; ``ended`` is called when a call has ended and is recorded."""
    if not rate > 0 or not patience > 0:
        raise ConfigError("rate, patience", (rate, patience), "calls per virtual second and virtual seconds, above 0")
    load = Load(cluster, action, patience=patience, ended=ended)
    async with trio.open_nursery() as calls, trio.open_nursery() as making:
        making.start_soon(_make_calls, cluster, load, calls, rate)
        yield load
        making.cancel_scope.cancel()
    if check is not None:
        await cluster.settled()
        await load.look_for_losses(check)


async def _make_calls(cluster: UnderLoad, load: Load[Any], nursery: trio.Nursery, rate: float) -> None:
    rng = dice("load", cluster.seed, rate)
    number = 0
    while True:
        await trio.sleep(rng.expovariate(rate))  # arrivals that know nothing of each other
        askers = cluster.askers
        if askers and len(nursery.child_tasks) < _MOST_UNDER_WAY:
            nursery.start_soon(load.call, rng.choice(askers), number)
            number += 1


def _lives(asker: Asker, node: Node) -> bool:
    return asker.running and asker.node is node
