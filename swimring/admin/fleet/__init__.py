"""Several nodes on one machine, a process each, under one owner: what `swimring dev` and `run --workers` stand on."""

from .child import Child, Facts
from .fleet import Fleet, open_fleet
from .patience import Patience
from .supervision import Supervision, open_supervision

__all__ = ["Child", "Facts", "Fleet", "Patience", "Supervision", "open_fleet", "open_supervision"]
