"""Rules that must hold at every event of a simulated cluster: yours, and a few of our own.

An invariant looks at the cluster and yields a sentence for everything that is wrong. `SimCluster.check` takes it, and
says at which events it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from swimring.errors import NodeClosed
from swimring.swim import Status

from .load import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from swimring.identity import Key

    from .cluster import SimCluster
    from .load import Load, Record
    from .machine import SimNode

T = TypeVar("T")

Invariant: TypeAlias = "Callable[[SimCluster], Iterable[str]]"
"""Yields what is wrong now, a sentence each; nothing if all is well. It must not wait."""


class InvariantBroken(AssertionError):
    """An invariant did not hold; the text says which, when, and what was wrong."""

    def __init__(self, name: str, at: float, wrong: list[str]) -> None:
        """``wrong`` at virtual second ``at``, as the invariant ``name`` found."""
        super().__init__(name, at, wrong)
        self.name = name
        self.at = at
        self.wrong = wrong

    def __str__(self) -> str:
        return f"{self.name} does not hold at {self.at:.3f} s: {'; '.join(self.wrong)}"


def each_node_trusts_itself(cluster: SimCluster) -> Iterator[str]:
    """A node that runs is alive in its own eyes, or on its way out."""
    for one in cluster.awake:
        if one.node.me.status not in (Status.ALIVE, Status.LEFT):
            yield f"{one.name} takes itself for {one.node.me.status.name.lower()}"


def incarnations_come_from_their_owner(cluster: SimCluster) -> Iterator[str]:
    """Nobody believes in a later generation or incarnation of a running node than that node itself."""
    for one in cluster.awake:
        mine = (one.node.me.generation, one.node.me.incarnation)
        for other in cluster.awake:
            for member in other.node.members:
                if member.name == one.name and (member.generation, member.incarnation) > mine:
                    yield f"{other.name} believes in a later {one.name} than {one.name} itself"


def find_broken(invariants: Iterable[Invariant], cluster: SimCluster, *, now: float) -> InvariantBroken | None:
    """The first invariant that does not hold."""
    for invariant in invariants:
        wrong = list(invariant(cluster))
        if wrong:
            return InvariantBroken(getattr(invariant, "__name__", repr(invariant)), now, wrong)
    return None


# --------------------------------------------------------------------------------------- made for one test, by settings


def views_converge(*, within: float = 60.0) -> Invariant:
    """All nodes see each other, and have the same rings, once it has been quiet for ``within`` virtual seconds.

    Quiet (`SimCluster.quiet_for`) is when no fault is in force, no node is paused, and none has started or ended.
    """

    def views_converge(cluster: SimCluster) -> Iterable[str]:
        return cluster.disagreements() if cluster.quiet_for >= within else ()

    return views_converge


def acknowledged_survive(load: Load[T], survives: Callable[[Record[T]], bool], *, quiet_for: float = 0.0) -> Invariant:
    """Whatever a call of ``load`` was told is done stays done: ``survives(record)`` is true from then on.

    It is asked for every acknowledged record at every event, so it must not wait: it looks at what the nodes of the
    test hold in memory, at their disks (`SimNode.disk`), or at a model that the handlers keep.

    Args:
        load: whose calls.
        survives: whether the effect of one of them is still there.
        quiet_for: ask only after that many quiet seconds, for what may be out of reach for a while.
    """

    def acknowledged_survive(cluster: SimCluster) -> Iterator[str]:
        if cluster.quiet_for < quiet_for:
            return
        for record in load.records:
            if record.outcome is Outcome.ACKNOWLEDGED and not survives(record):
                yield f"call {record.number} of {record.asker} was told {record.value!r} at {_end(record):.3f} s: gone"

    return acknowledged_survive


class Claim(Protocol):
    """What a node says it owns at the moment; anything with these attributes is one."""

    @property
    def service(self) -> str:
        """The service of the key."""
        ...

    @property
    def key(self) -> Key:
        """The key."""
        ...

    @property
    def fence(self) -> Hashable:
        """Tells this ownership from every other one of the key."""
        ...

    @property
    def owner(self) -> str:
        """The name of the node that claims it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenClaim:
    """A key with state that is open on a node.

    Attributes:
        service: the service of the key.
        key: the key.
        fence: under which its checkpoints are kept.
        owner: the node.
    """

    service: str
    key: Key
    fence: Hashable
    owner: str


def open_claims(node: SimNode) -> Iterator[OpenClaim]:
    """The keys that are open on ``node`` now, by `Node.own` and by calls; none before it has joined."""
    try:
        ownership = node.node.ownership
    except NodeClosed:
        return
    for one in ownership.open_keys():
        yield OpenClaim(service=one.service, key=one.key, fence=one.fence, owner=node.name)


def one_owner_per_fence(claims: Callable[[SimNode], Iterable[Claim]] = open_claims) -> Invariant:
    """No two nodes ever claim a key under the same fence, neither at once nor one after the other.

    All claims that were seen are remembered. A paused node, which cannot know that it has lost a key, is asked, too.

    Args:
        claims: what a node that runs claims now; default: the keys that are open there.
    """
    owners: dict[tuple[str, Key, Hashable], str] = {}

    def one_owner_per_fence(cluster: SimCluster) -> Iterator[str]:
        for node in cluster.running:
            for claim in claims(node):
                first = owners.setdefault((claim.service, claim.key, claim.fence), claim.owner)
                if first != claim.owner:
                    what = f"{claim.key!r} of {claim.service} with fence {claim.fence}"
                    yield f"{claim.owner} claims {what}, which was {first}'s"

    return one_owner_per_fence


def _end(record: Record[Any]) -> float:
    return record.began + record.latency
