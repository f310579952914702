"""Named byte streams on Trio: what they wait with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from swimring.service import SessionStream, Waiting
from swimring.service import reset_code as _reset_code

from .parking import Signal

if TYPE_CHECKING:
    from swimring.mux import ResetCode

TRIO: Final = Waiting(
    checkpoint=trio.lowlevel.checkpoint,
    checkpoint_if_cancelled=trio.lowlevel.checkpoint_if_cancelled,
    now=trio.current_time,
    deadline=trio.current_effective_deadline,
    signal=Signal,
    closed=trio.ClosedResourceError,
    busy=lambda: trio.BusyResourceError("another task is sending on this stream"),
    cancelled=lambda: trio.Cancelled,
    scope=trio.CancelScope,
    event=trio.Event,
    open_file=trio.open_file,
)
"""What everything that waits for a session waits with here."""


class PeerStream(SessionStream):
    """A stream of a call between two nodes."""

    _waiting = TRIO


def reset_code(error: BaseException) -> ResetCode:
    """Why a stream is given up that was left by ``error``."""
    return _reset_code(error, TRIO)
