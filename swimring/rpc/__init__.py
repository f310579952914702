"""Runs mux over net: connections to peers, calls made and served, and where calls go."""

from .outgoing import Outgoing
from .routing import Door, Doors, RingView, Routing, outgoing, refuse_unless_owner, whole_message

__all__ = [
    "Door",
    "Doors",
    "Outgoing",
    "RingView",
    "Routing",
    "outgoing",
    "refuse_unless_owner",
    "whole_message",
]
