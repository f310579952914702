"""Named byte streams on Trio: what they wait with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from swimring.service import SessionStream, Waiting
from swimring.service import reset_code as _reset_code

from .parking import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.mux import ResetCode, Session
    from swimring.service import Writers

TRIO: Final = Waiting(
    checkpoint=trio.lowlevel.checkpoint,
    checkpoint_if_cancelled=trio.lowlevel.checkpoint_if_cancelled,
    now=trio.current_time,
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

    def __init__(
        self,
        stream_id: int,
        name: str,
        session: Session,
        poke: Callable[[], None],
        *,
        writers: Writers,
        item_limits: tuple[int, int],
    ) -> None:
        """As `SessionStream`."""
        super().__init__(stream_id, name, session, poke, writers=writers, item_limits=item_limits, waiting=TRIO)


def reset_code(error: BaseException) -> ResetCode:
    """Why a stream is given up that was left by ``error``."""
    return _reset_code(error, TRIO)
