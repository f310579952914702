"""How a node is, at one moment: numbers of all its parts, for monitors and people."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

import trio

from swimring.rpc import CallStatistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from swimring.gossip import Gossiper, GossipStatistics
    from swimring.ownership import Ownership, OwnershipStatistics, Rebalancer
    from swimring.ring import HashRing
    from swimring.rpc import Here, Pool

_NO_CALLS: Final = CallStatistics(connections=0, streams=0, calling=0, handling=0)
_DIGITS: Final = 12
"""Hexadecimal digits of a ring's version that a floating-point number, which monitors use, holds exactly."""


@cache
def _version() -> str:
    from importlib import metadata  # noqa: PLC0415 - it takes longer than any package of ours, and few ask

    try:
        return metadata.version("swimring")
    except metadata.PackageNotFoundError:  # run from its source, as benchmarks do with the interpreter of their peers
        return "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatistics:
    """How a node is, at one moment.

    Attributes:
        gossip: the membership.
        lag: seconds by which timers of this process were late lately, at most.
        owned: for each service, the share of its ring that this node owns, from 0 to 1.
        ring_nodes: for each service, the number of nodes on its ring.
        ring_version: a number that is equal on nodes that agree about every key of every service.
        ring_sequence: how many rings this node has published.
        calls: connections to peers, and the calls made and handled here.
        ownership: the keys that are open and kept here; None before the node has joined.
        version: of swimring.
        trio_version: of Trio.
    """

    gossip: GossipStatistics
    lag: float
    owned: Mapping[str, float]
    ring_nodes: Mapping[str, int]
    ring_version: int
    ring_sequence: int
    calls: CallStatistics
    ownership: OwnershipStatistics | None = None
    version: str = field(default_factory=_version)
    trio_version: str = trio.__version__


def gather_statistics(
    gossiper: Gossiper, rebalancer: Rebalancer, doors: Iterable[Pool | Here], ownership: Ownership | None = None
) -> NodeStatistics:
    """Ask all parts; ``doors`` are what calls go through."""
    snapshot = rebalancer.snapshot
    me = gossiper.me.name
    return NodeStatistics(
        gossip=gossiper.statistics(),
        lag=gossiper.lag(me) or 0.0,
        owned={name: _share(ring).get(me, 0.0) for name, ring in snapshot.rings.items()},
        ring_nodes={name: len(ring) for name, ring in snapshot.rings.items()},
        ring_version=int(snapshot.version[:_DIGITS], 16),
        ring_sequence=snapshot.sequence,
        calls=sum((door.statistics() for door in doors), _NO_CALLS),
        ownership=None if ownership is None else ownership.statistics(),
    )


@lru_cache(maxsize=64)
def _share(ring: HashRing) -> dict[str, float]:
    """Rings are values, and monitors ask for the same ones again and again."""
    return ring.share()
