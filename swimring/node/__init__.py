"""The composition root: the only package that knows all the others."""

from .calls import NodePeer
from .node import Node
from .opening import open_node
from .placing import NodeEvent
from .querying import Answers
from .settings import Settings

__all__ = ["Answers", "Node", "NodeEvent", "NodePeer", "Settings", "open_node"]
