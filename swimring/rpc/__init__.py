"""Calls between nodes: runs the mux over the network, one connection per pair of nodes."""

from .calling import Call, Outgoing
from .feeding import StreamSource
from .pool import Peer, Pool, open_pool
from .serving import Incoming, Serve
from .streams import PeerStream

__all__ = ["Call", "Incoming", "Outgoing", "Peer", "PeerStream", "Pool", "Serve", "StreamSource", "open_pool"]
