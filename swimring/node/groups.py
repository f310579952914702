"""A lone error leaves the node as itself, not wrapped in a group for each nursery it passed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Block:
    """What became of a user's block: its error is told apart from the wrapping that nurseries put around it."""

    def __init__(self) -> None:
        """It has not failed."""
        self.error: BaseException | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The user's block runs inside this one."""
        try:
            yield
        except BaseException as error:
            self.error = error
            raise


@contextmanager
def lone_error_raised_bare() -> Iterator[Block]:
    """Take the wrapping off a group that holds one error; a group of several passes as it is.

    A group that the block itself raised is one error.
    """
    block = Block()
    try:
        yield block
    except BaseExceptionGroup as group:
        error = _unwrapped(group, block.error)
        if error is group:
            raise
        context = error.__context__
        try:
            raise error
        finally:
            # The groups say nothing the error does not say itself; what it had for a context, it keeps.
            error.__context__ = context


def _unwrapped(group: BaseExceptionGroup[BaseException], own: BaseException | None) -> BaseException:
    # Cancel scopes rebuild the groups that pass them: only the leaves are the same objects as before.
    if own is not None and list(map(id, _leaves(group))) == list(map(id, _leaves(own))):
        return own
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
