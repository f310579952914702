"""Adapters from what a node tells to the tools that people watch it with; each implements `swimring.Instrument`.

`swimring.observe.metrics` needs the extra ``metrics``; import the module you use.
"""

from .logs import JsonFormatter, RepeatFilter, set_up_logging

__all__ = ["JsonFormatter", "RepeatFilter", "set_up_logging"]
