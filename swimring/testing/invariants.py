"""Rules that must hold at every event of a simulated cluster: yours, and a few of our own.

An invariant looks at the cluster and yields a sentence for everything that is wrong. `SimCluster.check` takes it; it is
asked whenever a node's view has changed, started or ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from swimring.swim import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .cluster import SimCluster

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
