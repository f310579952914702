"""What a user declares: services, their handlers, and what handlers are given. Imports no event loop."""

from .answer import Answer, AnswerStream
from .dispatcher import BoundCall, Dispatcher
from .endpoint import Endpoint, Handler, Registered, WithStreams, streams_of_call
from .items import ItemKinds, ItemStream, Objects, kinds_of
from .opened import ChannelCall, ItemsCall, OpenCall, OpenedCall, TypedCall, opened
from .raising import BUILT_IN, UNDECLARED, ErrorTypes, as_told, raise_as_declared
from .reply import Reply, ReplySource
from .request import ByteStream, Caller, Channel, NodeView, Request, StreamSource
from .service import Registration, Service
from .streaming import ChannelEndpoint, ChannelHandler, StreamingEndpoint, StreamingHandler

__all__ = [
    "BUILT_IN",
    "UNDECLARED",
    "Answer",
    "AnswerStream",
    "BoundCall",
    "ByteStream",
    "Caller",
    "Channel",
    "ChannelCall",
    "ChannelEndpoint",
    "ChannelHandler",
    "Dispatcher",
    "Endpoint",
    "ErrorTypes",
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
    "as_told",
    "kinds_of",
    "opened",
    "raise_as_declared",
    "streams_of_call",
]
