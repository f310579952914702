"""swimring: a few Python processes become one autonomous, sharded service.

The layers, from what a user touches down to what everything rests on; imports only point down:

    admin                                             the command line
    client | testing                                  the mesh from outside; a whole cluster in one process
    node                                              the composition root: `open_node`
    builtin                                           what every node answers about itself
    ownership                                         what happens when a key changes hands
    discovery | gossip | rpc                          drivers: wait, send, report
    net                                               the one seam to the world
    service                                           what a user declares
    mux | patterns | policies | ring | security | swim    decisions, pure: no clock, no socket, no event loop
    certificates                                      files in, TLS contexts out
    codec | instrument | tracing, identity, errors    what all of them share

Names are imported on first use, so that a module which only declares a service, or an asyncio program that only uses
`swimring.client`, never loads Trio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .certificates import TlsSettings as TlsSettings
    from .errors import CallError as CallError
    from .errors import CircuitOpen as CircuitOpen
    from .errors import ConfigError as ConfigError
    from .errors import ConnectionLost as ConnectionLost
    from .errors import DeadlineExceeded as DeadlineExceeded
    from .errors import Draining as Draining
    from .errors import Evicted as Evicted
    from .errors import HandlerFailed as HandlerFailed
    from .errors import InvalidRequest as InvalidRequest
    from .errors import LocalProtocolError as LocalProtocolError
    from .errors import MissingExtra as MissingExtra
    from .errors import NameConflict as NameConflict
    from .errors import NodeClosed as NodeClosed
    from .errors import NoSuchHandler as NoSuchHandler
    from .errors import NotJoined as NotJoined
    from .errors import NotOwner as NotOwner
    from .errors import Overloaded as Overloaded
    from .errors import OwnershipLost as OwnershipLost
    from .errors import ProtocolError as ProtocolError
    from .errors import RemoteProtocolError as RemoteProtocolError
    from .errors import StoreError as StoreError
    from .errors import StoreFull as StoreFull
    from .errors import StreamLost as StreamLost
    from .errors import StreamReset as StreamReset
    from .errors import SwimringError as SwimringError
    from .errors import Unreachable as Unreachable
    from .gossip import Missed as Missed
    from .identity import Address as Address
    from .identity import Fence as Fence
    from .identity import NodeId as NodeId
    from .instrument import Instrument as Instrument
    from .node import Node as Node
    from .node import open_node as open_node
    from .ownership import Moved as Moved
    from .ownership import Own as Own
    from .ownership import RangesGained as RangesGained
    from .ownership import RangesLost as RangesLost
    from .ownership import ReplicaChanged as ReplicaChanged
    from .service import Answer as Answer
    from .service import ByteStream as ByteStream
    from .service import Channel as Channel
    from .service import Endpoint as Endpoint
    from .service import KeyState as KeyState
    from .service import Machine as Machine
    from .service import Objects as Objects
    from .service import Reply as Reply
    from .service import Request as Request
    from .service import Service as Service
    from .service import Store as Store
    from .swim import Broadcast as Broadcast
    from .swim import Member as Member
    from .swim import Status as Status

_HOMES = {
    ".certificates": ("TlsSettings",),
    ".errors": (
        "CallError", "CircuitOpen", "ConfigError", "ConnectionLost", "DeadlineExceeded", "Draining", "Evicted",
        "HandlerFailed", "InvalidRequest", "LocalProtocolError", "MissingExtra", "NameConflict", "NoSuchHandler",
        "NodeClosed", "NotJoined", "NotOwner", "Overloaded", "OwnershipLost", "ProtocolError", "RemoteProtocolError",
        "StoreError", "StoreFull", "StreamLost", "StreamReset", "SwimringError", "Unreachable",
    ),
    ".gossip": ("Missed",),
    ".identity": ("Address", "Fence", "NodeId"),
    ".instrument": ("Instrument",),
    ".node": ("Node", "open_node"),
    ".ownership": ("Moved", "Own", "RangesGained", "RangesLost", "ReplicaChanged"),
    ".service": (
        "Answer", "ByteStream", "Channel", "Endpoint", "KeyState", "Machine", "Objects", "Reply", "Request", "Service",
        "Store",
    ),
    ".swim": ("Broadcast", "Member", "Status"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Address",
    "Answer",
    "Broadcast",
    "ByteStream",
    "CallError",
    "Channel",
    "CircuitOpen",
    "ConfigError",
    "ConnectionLost",
    "DeadlineExceeded",
    "Draining",
    "Endpoint",
    "Evicted",
    "Fence",
    "HandlerFailed",
    "Instrument",
    "InvalidRequest",
    "KeyState",
    "LocalProtocolError",
    "Machine",
    "Member",
    "Missed",
    "MissingExtra",
    "Moved",
    "NameConflict",
    "NoSuchHandler",
    "Node",
    "NodeClosed",
    "NodeId",
    "NotJoined",
    "NotOwner",
    "Objects",
    "Overloaded",
    "Own",
    "OwnershipLost",
    "ProtocolError",
    "RangesGained",
    "RangesLost",
    "RemoteProtocolError",
    "ReplicaChanged",
    "Reply",
    "Request",
    "Service",
    "Status",
    "Store",
    "StoreError",
    "StoreFull",
    "StreamLost",
    "StreamReset",
    "SwimringError",
    "TlsSettings",
    "Unreachable",
    "open_node",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
