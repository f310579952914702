"""What a user declares: services, their handlers, and what handlers are given. Imports no event loop."""

from .answer import Answer, AnswerStream
from .asking import NO_STREAMS, Asker, Streaming, Streams, Talking, Unary, read_open
from .attached import AttachedStreams
from .dispatcher import BoundCall, Dispatcher
from .due import DueCalls
from .endpoint import Endpoint, Handler, Registered, WithStreams
from .feeding import OpenFile, Source, checked_sources, close_source, failure_in, feed, readable_again
from .following import Following, Report
from .held import HeldCall, hold
from .items import ItemKinds, ItemStream, Objects
from .opened import ChannelCall, ItemsCall, OpenCall, OpenedCall, TypedCall, opened
from .owning import KeyState, OwnedKeys, StateForm, Terms
from .raising import BUILT_IN, UNDECLARED, ErrorTypes, as_told, raise_as_declared
from .reply import Reply, ReplySource
from .request import ByteStream, Caller, Channel, NodeView, Request, StreamSource
from .service import Registration, Service
from .streaming import ChannelEndpoint, ChannelHandler, StreamingEndpoint, StreamingHandler
from .streams import SessionStream, Signal, Waiting, reset_code
from .surroundings import Machine, Store
from .writers import Writers

__all__ = [
    "BUILT_IN",
    "NO_STREAMS",
    "UNDECLARED",
    "Answer",
    "AnswerStream",
    "Asker",
    "AttachedStreams",
    "BoundCall",
    "ByteStream",
    "Caller",
    "Channel",
    "ChannelCall",
    "ChannelEndpoint",
    "ChannelHandler",
    "Dispatcher",
    "DueCalls",
    "Endpoint",
    "ErrorTypes",
    "Following",
    "Handler",
    "HeldCall",
    "ItemKinds",
    "ItemStream",
    "ItemsCall",
    "KeyState",
    "Machine",
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
    "Report",
    "Request",
    "Service",
    "SessionStream",
    "Signal",
    "Source",
    "StateForm",
    "Store",
    "StreamSource",
    "Streaming",
    "StreamingEndpoint",
    "StreamingHandler",
    "Streams",
    "Talking",
    "Terms",
    "TypedCall",
    "Unary",
    "Waiting",
    "WithStreams",
    "Writers",
    "as_told",
    "checked_sources",
    "close_source",
    "failure_in",
    "feed",
    "hold",
    "opened",
    "raise_as_declared",
    "read_open",
    "readable_again",
    "reset_code",
]
