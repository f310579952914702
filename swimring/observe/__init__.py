"""Adapters from what a node tells to the tools that people watch it with; each implements `swimring.Instrument`.

`swimring.observe.metrics` needs the extra ``metrics``; import the module you use.
"""

from .logs import JsonFormatter, RepeatFilter, check_logging, set_up_logging
from .timeline import Entry, Timeline
from .traffic import HandlerTraffic, Traffic, percentile
from .trips import Trips

__all__ = [
    "Entry",
    "HandlerTraffic",
    "JsonFormatter",
    "RepeatFilter",
    "Timeline",
    "Traffic",
    "Trips",
    "check_logging",
    "percentile",
    "set_up_logging",
]
