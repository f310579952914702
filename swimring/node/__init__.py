"""The composition root: the only package that knows all the others."""

from .groups import lone_error_raised_bare
from .node import Node
from .opening import open_node
from .peer import NodePeer
from .placing import NodeEvent
from .querying import Answers
from .settings import NodeSettings, Settings, check_settings
from .statistics import NodeStatistics

__all__ = [
    "Answers",
    "Node",
    "NodeEvent",
    "NodePeer",
    "NodeSettings",
    "NodeStatistics",
    "Settings",
    "check_settings",
    "lone_error_raised_bare",
    "open_node",
]
