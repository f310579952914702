"""The one seam to the world: interfaces of a network and of a machine, and the real ones, with its files."""

from .host import Host, SystemHost
from .sockets import SocketNetwork
from .store import MAX_CONTENT, DirectoryStore, check_content, check_file_name
from .tls import TlsNetwork, TlsStream, accept_tls
from .transport import Binding, Datagrams, Network, SendsNow, StreamListener

__all__ = [
    "MAX_CONTENT",
    "Binding",
    "Datagrams",
    "DirectoryStore",
    "Host",
    "Network",
    "SendsNow",
    "SocketNetwork",
    "StreamListener",
    "SystemHost",
    "TlsNetwork",
    "TlsStream",
    "accept_tls",
    "check_content",
    "check_file_name",
]
