"""What a user declares: services, their handlers, and what handlers are given. Imports no event loop."""

from .answer import Answer, AnswerStream
from .asking import Streaming, Talking, Unary, read_call, read_open, returned, typed
from .dispatcher import BoundCall, Dispatcher
from .endpoint import Endpoint, Handler, Registered, WithStreams, streams_of_call
from .feeding import OpenFile, Source, checked_sources, close_source, feed, readable_again
from .items import ItemKinds, ItemStream, Objects, kinds_of
from .opened import ChannelCall, ItemsCall, OpenCall, OpenedCall, TypedCall, opened
from .owning import KeyState, OwnedKeys, StateForm, Terms
from .raising import BUILT_IN, UNDECLARED, ErrorTypes, as_told, raise_as_declared
from .reply import Reply, ReplySource
from .request import ByteStream, Caller, Channel, NodeView, Request, StreamSource
from .service import Registration, Service
from .streaming import ChannelEndpoint, ChannelHandler, StreamingEndpoint, StreamingHandler
from .streams import SessionStream, Signal, Waiting, reset_code

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
    "KeyState",
    "NodeView",
    "Objects",
    "OpenCall",
    "OpenFile",
    "OpenedCall",
    "OwnedKeys",
    "Registered",
    "Registration",
    "Reply",
    "ReplySource",
    "Request",
    "Service",
    "SessionStream",
    "Signal",
    "Source",
    "StateForm",
    "StreamSource",
    "Streaming",
    "StreamingEndpoint",
    "StreamingHandler",
    "Talking",
    "Terms",
    "TypedCall",
    "Unary",
    "Waiting",
    "WithStreams",
    "as_told",
    "checked_sources",
    "close_source",
    "feed",
    "kinds_of",
    "opened",
    "raise_as_declared",
    "read_call",
    "read_open",
    "readable_again",
    "reset_code",
    "returned",
    "streams_of_call",
    "typed",
]
