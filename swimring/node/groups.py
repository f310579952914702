"""An error of the user's block leaves the node as itself, not wrapped in a group for each nursery it passed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def lone_error_raised_bare() -> Iterator[None]:
    """Take the wrapping off a group that holds one error; a group of several passes as it is."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if error is group:
            raise
        # The groups say nothing the error does not say itself, so they are not kept as its context.
        raise error from error.__cause__
