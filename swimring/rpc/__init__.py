"""Runs mux over net: connections to peers, calls made and served, and where calls go."""

from .calling import Call
from .outgoing import Outgoing
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
    "open_pool",
    "outgoing",
    "refuse_unless_owner",
    "whole_message",
]
