"""The one seam to the world: interfaces of a network and of a machine, and the real ones."""

from .host import Host, SystemHost
from .sockets import SocketNetwork
from .tls import TlsNetwork, TlsStream, accept_tls
from .transport import Binding, Datagrams, Network, StreamListener

__all__ = [
    "Binding",
    "Datagrams",
    "Host",
    "Network",
    "SocketNetwork",
    "StreamListener",
    "SystemHost",
    "TlsNetwork",
    "TlsStream",
    "accept_tls",
]
