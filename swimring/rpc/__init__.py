"""Calls between nodes: runs the mux over the network, one connection per pair of nodes; and finds whom to call."""

from .alone import OnlyPeer, open_connection
from .following import handler_span
from .forwarding import Forwarding, Relayed
from .here import Here, open_here
from .outgoing import Outgoing, outgoing, whole_message
from .pool import Peer, Pool, open_pool
from .refusing import refuse_unless_owner
from .routing import DIRECT, Door, Doors, RingView, Routing
from .serving import Incoming, Serve
from .statistics import CallStatistics
from .streams import PeerStream
from .walking import RunningCall, TaskInCall, running_calls

__all__ = [
    "DIRECT",
    "CallStatistics",
    "Door",
    "Doors",
    "Forwarding",
    "Here",
    "Incoming",
    "OnlyPeer",
    "Outgoing",
    "Peer",
    "PeerStream",
    "Pool",
    "Relayed",
    "RingView",
    "Routing",
    "RunningCall",
    "Serve",
    "TaskInCall",
    "handler_span",
    "open_connection",
    "open_here",
    "open_pool",
    "outgoing",
    "refuse_unless_owner",
    "running_calls",
    "whole_message",
]
