"""The admin port of a node: a small HTTP server, health for whoever restarts nodes, and what monitors read."""

from .asking import handlers_of
from .health import Health, Stage
from .messages import EVENTS, HTML, Answer, HttpRequest, HttpResponse, Send, event, json_response, problem
from .opening import AUTO, OFF, PORT, open_admin, open_site
from .site import Site
from .steering import Steering, read_token

__all__ = [
    "AUTO",
    "EVENTS",
    "HTML",
    "OFF",
    "PORT",
    "Answer",
    "Health",
    "HttpRequest",
    "HttpResponse",
    "Send",
    "Site",
    "Stage",
    "Steering",
    "event",
    "handlers_of",
    "json_response",
    "open_admin",
    "open_site",
    "problem",
    "read_token",
]
