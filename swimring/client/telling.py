"""Calls of a client, told to its instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimring import service

from .waiting import ANY_LOOP

if TYPE_CHECKING:
    from swimring.instrument import Instruments

    from .message import Message


class Report(service.Report):
    """Tells the instruments what became of the call that its block makes, and follows it if somebody wants that."""

    __slots__ = ("_message",)

    def __init__(self, instruments: Instruments, message: Message) -> None:
        """It begins with the block."""
        super().__init__(instruments, message.ns, message.cmd, message.key, ANY_LOOP)
        self._message = message

    def __enter__(self) -> None:
        following = self.begin()
        if following is not None:
            self._message.traceparent = following.traceparent(self._message.traceparent)
            self._message.following = following if following.wanted else None
