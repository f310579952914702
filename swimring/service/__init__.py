"""What a user declares: services, their handlers, and what handlers are given. Imports no event loop."""

from .dispatcher import BoundCall, Dispatcher
from .endpoint import Endpoint, Handler, WithStreams
from .request import ByteStream, Caller, NodeView, Request, StreamSource
from .service import Service

__all__ = [
    "BoundCall",
    "ByteStream",
    "Caller",
    "Dispatcher",
    "Endpoint",
    "Handler",
    "NodeView",
    "Request",
    "Service",
    "StreamSource",
    "WithStreams",
]
