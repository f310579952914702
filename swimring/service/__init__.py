"""What a user declares: services, their handlers, and what handlers are given. Imports no event loop."""

from .dispatcher import BoundCall, Dispatcher
from .endpoint import Endpoint, Handler, WithStreams
from .raising import BUILT_IN, UNDECLARED, ErrorTypes, as_told, raise_as_declared
from .request import ByteStream, Caller, NodeView, Request, StreamSource
from .service import Service

__all__ = [
    "BUILT_IN",
    "UNDECLARED",
    "BoundCall",
    "ByteStream",
    "Caller",
    "Dispatcher",
    "Endpoint",
    "ErrorTypes",
    "Handler",
    "NodeView",
    "Request",
    "Service",
    "StreamSource",
    "WithStreams",
    "as_told",
    "raise_as_declared",
]
