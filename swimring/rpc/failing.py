"""What the source of a stream raised, taken apart."""

from __future__ import annotations

import trio


def failure_in(error: BaseException) -> tuple[Exception | None, BaseException | None]:
    """The failure of the source, which is the caller's, and what has to go on.

    A source whose children fail while it is cancelled raises both at once.
    """
    if isinstance(error, Exception):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        cancelled, failure = error.split(trio.Cancelled)
        if isinstance(failure, Exception):
            return failure, cancelled
    return None, error
