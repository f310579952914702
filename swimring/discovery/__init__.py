"""Where to find the first peers."""

from .seeds import LOOPBACK_PORTS, Seeds, StaticSeeds, loopback_seeds, take_loopback_port

__all__ = ["LOOPBACK_PORTS", "Seeds", "StaticSeeds", "loopback_seeds", "take_loopback_port"]
