"""What a failed test says about its simulated cluster: how to replay it, what was done to it, what its nodes saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import SimCluster


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
