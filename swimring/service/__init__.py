"""What a user declares: services, their handlers, and what handlers are given. Imports no event loop."""

from .dispatcher import BoundCall, Dispatcher
from .endpoint import Endpoint, Handler, Registered, WithStreams, streams_of_call
from .items import ItemKinds, ItemStream, Objects, kinds_of
from .opened import ChannelCall, ItemsCall, OpenCall, OpenedCall, TypedCall, opened
from .reply import Reply, ReplySource
from .request import ByteStream, Caller, Channel, NodeView, Request, StreamSource
from .service import Registration, Service
from .streaming import ChannelEndpoint, ChannelHandler, StreamingEndpoint, StreamingHandler

__all__ = [
    "BoundCall",
    "ByteStream",
    "Caller",
    "Channel",
    "ChannelCall",
    "ChannelEndpoint",
    "ChannelHandler",
    "Dispatcher",
    "Endpoint",
    "Handler",
    "ItemKinds",
    "ItemStream",
    "ItemsCall",
    "NodeView",
    "Objects",
    "OpenCall",
    "OpenedCall",
    "Registered",
    "Registration",
    "Reply",
    "ReplySource",
    "Request",
    "Service",
    "StreamSource",
    "StreamingEndpoint",
    "StreamingHandler",
    "TypedCall",
    "WithStreams",
    "kinds_of",
    "opened",
    "streams_of_call",
]
