"""Every duty has a supervisor: a crash is an error of the node, told with its cause, never a silent death."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from swimring.errors import NameConflict
from swimring.instrument import Instrument

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from swimring.instrument import Instruments

_log = logging.getLogger("swimring.gossip")
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_TOO_MANY: Final = 8
_QUIET_AFTER: Final = 60.0


async def supervise(duty: str, run: Callable[[], Awaitable[None]], instruments: Instruments) -> None:
    """Run a duty for ever; restart it after a crash, with growing pauses.

    Duties keep what they know in the membership, so starting over is safe. A duty that crashes 8 times without
    working for a minute in between is broken, and so are one whose socket is gone and one whose name is taken.

    Raises:
        Exception: what broke the duty.
    """
    crashes = 0
    while True:
        started = trio.current_time()
        try:
            return await run()
        except (NameConflict, trio.ClosedResourceError):
            raise
        except Exception as error:
            crashes = 1 if trio.current_time() - started > _QUIET_AFTER else crashes + 1
            instruments.tell(Instrument.duty_failed, duty, error)
            if crashes >= _TOO_MANY:
                raise
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (crashes - 1))
            _log.exception("the %s crashed and starts again in %.1f s", duty, pause, extra={"event": "duty.crashed"})
        await trio.sleep(pause)
