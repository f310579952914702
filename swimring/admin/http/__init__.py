"""The admin port of a node: a small HTTP server, health for whoever restarts nodes, and what monitors read."""

from .health import Health, Stage
from .messages import EVENTS, HTML, Answer, HttpRequest, HttpResponse, Send, event, json_response, problem
from .server import HttpServer, open_http
from .site import Site

__all__ = [
    "EVENTS",
    "HTML",
    "Answer",
    "Health",
    "HttpRequest",
    "HttpResponse",
    "HttpServer",
    "Send",
    "Site",
    "Stage",
    "event",
    "json_response",
    "open_http",
    "problem",
]
