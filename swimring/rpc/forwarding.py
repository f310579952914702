"""Calls that a node hands on for a caller who cannot reach the owner: the body and the answer pass as they came.

Only the routing header is read and rewritten. What the call carries need not even make sense here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from swimring.instrument import Instrument, Instruments
from swimring.policies import MAX_HOPS
from swimring.tracing import Trace, enter_trace

from .following import handler_span, relay_attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from swimring.mux import CallHeader
    from swimring.swim import Member

    from .pool import Pool
    from .routing import RingView
    from .serving import Incoming


@dataclass(frozen=True, slots=True, kw_only=True)
class Relayed:
    """The answer of another node, still encoded."""

    body: bytes
    failed: bool = False
    """Whether it is a failure record instead of a value."""


class Forwarding:
    """Knows where a call that asks for it is handed on to, and does it."""

    def __init__(
        self, *, me: str, view: RingView, pool: Callable[[], Pool | None], instruments: Instruments | None = None
    ) -> None:
        """Hand on over the connections of ``pool``; while there is none, nothing is."""
        self._me = me
        self._view = view
        self._pool = pool
        self._instruments = instruments or Instruments()
        self._turns = itertools.count()

    async def forward(self, incoming: Incoming) -> Relayed | None:
        """Hand a call on and wait for its answer; None if it is one to handle, or refuse, here.

        What ends the call here ends it there: its deadline, which has shrunk, a cancel, and the loss of the connection.

        Raises:
            CallError: the other node did not answer; ``maybe_executed`` says whether it may have run the handler.
        """
        header = incoming.header
        target = self._target(header)
        pool = self._pool()
        if target is None or pool is None:
            return None
        self._instruments.tell(Instrument.call_forwarded, header.ns, header.cmd, header.key, target.name)
        if self._instruments.traced and self._begin(incoming):
            return await self._relay_followed(pool, target, incoming)
        return await _relay(pool, target, incoming, header.traceparent)

    def _begin(self, incoming: Incoming) -> bool:
        """Tell that the call is handled here, by handing it on; whether anybody follows it."""
        if incoming.header.traceparent is not None:
            enter_trace(Trace.read(incoming.header.traceparent))
        me = self._view.member(self._me)
        span = handler_span(incoming, me.address if me else None)
        if self._instruments.begin(span):
            incoming.span = span
        return incoming.span is not None

    async def _relay_followed(self, pool: Pool, target: Member, incoming: Incoming) -> Relayed:
        assert incoming.span is not None
        self._instruments.tell(Instrument.span_event, incoming.span, "forwarded", target.name)
        with relay_attempt(self._instruments, incoming.span, target.name, target.address) as attempt:
            return await _relay(pool, target, incoming, attempt.traceparent(incoming.header.traceparent))

    def _target(self, header: CallHeader) -> Member | None:
        if header.hops >= MAX_HOPS or header.streams:
            return None
        if header.key is not None:
            owner = self._view.owner(header.ns, header.key)
            return None if owner is None or owner.name == self._me else owner
        offering = self._view.offering(header.ns)
        if not offering or any(member.name == self._me for member in offering):
            return None
        return offering[next(self._turns) % len(offering)]


async def _relay(pool: Pool, target: Member, incoming: Incoming, traceparent: str | None) -> Relayed:
    peer = await pool.peer(target.name, target.address, target.generation)
    onward = replace(incoming.header, hops=incoming.header.hops + 1, traceparent=traceparent)
    return await peer.relay(onward, incoming.body)
