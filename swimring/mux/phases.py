"""How far a connection is, and why a side takes no more calls over it."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """How far a connection is."""

    PREFACE = "waiting for byte 0"
    HELLO = "waiting for the hello"
    PROOF = "waiting for the proof"
    OPEN = "open"
    CLOSED = "closed"


class GoAwayCode(enum.IntEnum):
    """Why a side takes no more calls."""

    PROTOCOL = 1
    """The other side broke the protocol; the connection is over."""
    DRAINING = 2
    """The sender is leaving; calls that it accepted still finish."""
    DUPLICATE = 3
    """There is another connection, or no need of one; calls that were sent before both sides said so still finish."""
