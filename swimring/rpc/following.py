"""Calls and handlers of a node, told to its instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimring import service
from swimring.instrument import Span, SpanKind
from swimring.service import Following

from .streams import TRIO

if TYPE_CHECKING:
    from swimring.identity import Address
    from swimring.instrument import Instruments

    from .outgoing import Outgoing
    from .serving import Incoming


def follow(instruments: Instruments, out: Outgoing) -> Following:
    """The call ``out`` from its beginning to its end."""
    return Following(instruments, Span(kind=SpanKind.CALL, ns=out.ns, cmd=out.cmd, key=out.key), TRIO)


class Report(service.Report):
    """Tells the instruments what became of the call that its block makes; the block gets the call as it is followed."""

    __slots__ = ("_out",)

    def __init__(self, instruments: Instruments, out: Outgoing) -> None:
        """It begins with the block."""
        super().__init__(instruments, out.ns, out.cmd, out.key, TRIO)
        self._out = out

    def __enter__(self) -> Outgoing:
        following = self.begin()
        return self._out if following is None else self._out.followed(following)


def handler_span(incoming: Incoming, address: Address | None) -> Span:
    """The handler that is about to run for ``incoming`` on the node at ``address``."""
    header = incoming.header
    return Span(
        kind=SpanKind.HANDLER,
        ns=header.ns,
        cmd=header.cmd,
        key=header.key,
        peer=incoming.peer,
        attempt=header.attempt,
        address=address,
    )


def relay_attempt(instruments: Instruments, handler: Span, peer: str, address: Address) -> Following:
    """The attempt that a node makes at ``peer`` for a call that it hands on, and handles as ``handler``."""
    return Following(instruments, handler, TRIO).attempt(peer, handler.attempt, address)
