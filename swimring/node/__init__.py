"""The composition root: the only package that knows all the others."""

from .node import Node
from .opening import open_node
from .owning import NodeEvent
from .peer import NodePeer
from .querying import Answers
from .settings import NodeSettings, Settings
from .statistics import NodeStatistics

__all__ = ["Answers", "Node", "NodeEvent", "NodePeer", "NodeSettings", "NodeStatistics", "Settings", "open_node"]
