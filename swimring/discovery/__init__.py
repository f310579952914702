"""Where to find the first peers."""

from .finding import Finder, open_finder
from .forms import MULTICAST_GROUP, MulticastGroup, SeedFile, Source, SrvName, read_sources
from .seeds import LOOPBACK_PORTS, Seeds, StaticSeeds, loopback_seeds, take_loopback_port

__all__ = [
    "LOOPBACK_PORTS",
    "MULTICAST_GROUP",
    "Finder",
    "MulticastGroup",
    "SeedFile",
    "Seeds",
    "Source",
    "SrvName",
    "StaticSeeds",
    "loopback_seeds",
    "open_finder",
    "read_sources",
    "take_loopback_port",
]
