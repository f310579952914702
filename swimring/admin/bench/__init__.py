"""What `swimring bench` does: load on a cluster, one that runs or one of its own, and what became of each call."""

from .cluster import WATCHED, Spawned, open_spawned
from .echo import echo
from .load import Load, Measured
from .plan import DISTRIBUTIONS, Plan
from .tally import Tally

__all__ = ["DISTRIBUTIONS", "WATCHED", "Load", "Measured", "Plan", "Spawned", "Tally", "echo", "open_spawned"]
