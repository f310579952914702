"""The mesh from outside: a client that does not gossip, on anyio: for asyncio programs as for Trio ones."""

from .connecting import connect
from .mesh import Mesh

__all__ = ["Mesh", "connect"]
