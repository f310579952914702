"""The admin port of a node: a small HTTP server, health for whoever restarts nodes, and what monitors read."""

from .messages import EVENTS, HTML, Answer, HttpRequest, HttpResponse, Send, event, json_response, problem
from .server import HttpServer, open_http

__all__ = [
    "EVENTS",
    "HTML",
    "Answer",
    "HttpRequest",
    "HttpResponse",
    "HttpServer",
    "Send",
    "event",
    "json_response",
    "open_http",
    "problem",
]
