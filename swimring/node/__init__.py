"""The composition root: the only package that knows all the others."""

from .calls import NodePeer
from .node import Node
from .opening import open_node
from .querying import Answers
from .settings import NodeSettings, Settings
from .statistics import NodeStatistics

__all__ = ["Answers", "Node", "NodePeer", "NodeSettings", "NodeStatistics", "Settings", "open_node"]
