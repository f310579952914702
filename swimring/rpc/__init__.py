"""Calls between nodes: runs the mux over the network, one connection per pair of nodes, and finds who is to be asked."""

from .calling import Call, Outgoing
from .feeding import StreamSource
from .pool import Peer, Pool, open_pool
from .routing import Door, Doors, RingView, Routing, outgoing, refuse_unless_owner, whole_message
from .serving import Incoming, Serve
from .streams import PeerStream

__all__ = [
    "Call",
    "Door",
    "Doors",
    "Incoming",
    "Outgoing",
    "Peer",
    "PeerStream",
    "Pool",
    "RingView",
    "Routing",
    "Serve",
    "StreamSource",
    "open_pool",
    "outgoing",
    "refuse_unless_owner",
    "whole_message",
]
