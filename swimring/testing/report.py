"""What a failed test says about its simulated cluster: how to replay it, what was done to it, what its nodes saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .cluster import SimCluster
    from .real import RealCluster

_SHOWN: Final = 40


_RANDOM: Final = (
    "    (the hash seed of this run was random, and is 0 in that one: what is in the order of a set can differ)"
)


def failure_report(cluster: SimCluster, replay: str, *, known: bool) -> str:
    """The text for people: the command, the faults in words, the last events of each node side by side.

    The hash seed of this process is ``known`` unless Python drew one.
    """
    faults = cluster.history.schedule() or ["   none"]
    return "\n".join(
        [
            f"seed {cluster.network.seed}; to see it again:",
            f"    {replay}",
            *([] if known else [_RANDOM]),
            f"{cluster!r}, {cluster.network.trace!r}",
            "",
            "faults:",
            *faults,
            "",
            "the last events of each node, in virtual seconds:",
            *cluster.history.timeline(),
        ]
    )


def real_report(cluster: RealCluster) -> str:
    """The same for real processes: what was done to them, and the last lines that each wrote."""
    parts = [f"{cluster!r}", "", "what was done:", *(cluster.history.schedule() or ["   nothing"])]
    for node in cluster.nodes:
        parts += ["", f"{node!r} said:", *(f"    {line}" for line in list(node.said)[-_SHOWN:] or ["nothing"])]
    return "\n".join(parts)
