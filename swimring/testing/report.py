"""What a failed test says about its simulated cluster: how to replay it, what was done to it, what its nodes saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .cluster import SimCluster
    from .real import RealCluster

_SHOWN: Final = 40


def failure_report(cluster: SimCluster, replay: str) -> str:
    """The text for people: the command, the faults in words, the last events of each node side by side."""
    faults = cluster.history.schedule() or ["   none"]
    return "\n".join(
        [
            f"seed {cluster.network.seed}; to see it again:",
            f"    {replay}",
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
