"""What a query gets from each member, and the answers to one as they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one member said, or why it did not.

    Attributes:
        member: its name.
        value: what its handler returned.
        error: why there is no value: `Unreachable`, `HandlerFailed` and so on; None if there is one.
    """

    member: str
    value: Any = None
    error: Exception | None = None


class AnswerStream(Protocol):
    """The answers to one query, in the order in which they come; it ends when all have answered."""

    @property
    def unanswered(self) -> Collection[str]:
        """The names of those asked whose answer has not been taken yet."""
        ...

    def __aiter__(self) -> Self:
        """Iterate once."""
        ...

    async def __anext__(self) -> Answer:
        """The next answer."""
        ...
