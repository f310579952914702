"""Calls made there: each becomes a job of a worker, inside a cancel scope with the call's own deadline.

A handler ends with its caller: on CANCEL at once, with the deadline on our clock, and `cancel_grace` after the
connection. A cast has no caller: it runs until its deadline.

While the answers that wait for credit are more than two message windows, no further call of that connection begins: a
peer that asks and never reads would fill our memory otherwise. What runs already when that point is reached may finish,
but beyond eight message windows its answer is dropped, and the caller told so.
"""

from __future__ import annotations

import bisect
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from swimring.codec import encode
from swimring.errors import (
    CallError,
    DeadlineExceeded,
    InvalidRequest,
    LocalProtocolError,
    Overloaded,
    RemoteProtocolError,
    StreamReset,
)
from swimring.instrument import Instrument
from swimring.mux import ITEMS, CallKind, ResetCode, decode_fields, encode_failure
from swimring.service import Reply

from .forwarding import Relayed
from .offering import Offer
from .parking import Turnstile

if TYPE_CHECKING:
    from swimring.instrument import Span
    from swimring.mux import CallArrived, CancelArrived, Declare

    from .connection import Connection
    from .streams import PeerStream

_log = logging.getLogger("swimring.rpc")

_NO_STREAMS: Final[Mapping[str, PeerStream]] = MappingProxyType({})


_CAST: Final = CallKind.CAST  # as quick to look up as they are often asked about
_REQUEST: Final = CallKind.REQUEST


class Incoming:
    """One call as it arrives at `Serve`."""

    __slots__ = (
        "_connection", "_message", "arrived", "begun", "body", "deadline", "declare", "header", "span", "streams",
    )  # fmt: skip

    def __init__(self, connection: Connection, event: CallArrived) -> None:
        """The call that ``event`` tells of, which came over ``connection`` just now."""
        self._connection = connection
        self.header = event.header
        self.body = event.body
        """The fields of the message as they came: encoded."""
        self._message: Mapping[str, Any] | None = None
        self.streams: Mapping[str, PeerStream] = _NO_STREAMS
        self.arrived = connection.heard
        """When it came in, by Trio's clock."""
        self.deadline = self.arrived + event.header.remaining
        """By Trio's clock, absolute; `math.inf` without one."""
        self.begun = False
        self.declare: Declare | None = None
        self.span: Span | None = None
        """The handler that runs, for those who follow it; None if nobody does."""

    @property
    def peer(self) -> str:
        """The name of the node that sent it."""
        return self._connection.peer_name

    @property
    def message(self) -> Mapping[str, Any]:
        """All of it: ns, cmd and key from the header if they are set, and the fields, decoded when first asked for.

        Raises:
            RemoteProtocolError: the fields are malformed.
        """
        if self._message is None:
            self._message = decode_fields(self.header, self.body)
        return self._message

    def begin(self, *, declare: Declare | None = None) -> None:
        """Say that the handler starts now: whatever is raised from here on may have been executed in part.

        ``declare`` says which of its errors the caller can raise as themselves. Before that, a `CallError` raised by
        `Serve` goes back as a refusal with its own ``maybe_executed``, and the caller may try elsewhere.
        """
        if self._message is None:
            self._message = decode_fields(self.header, self.body)
        self.begun = True
        self.declare = declare


Serve: TypeAlias = Callable[[Incoming], Awaitable[object]]
"""Answers one call: what it returns is the reply, what it raises goes back as a failure."""


class Serving:
    """The calls of the other side of one connection that are not over."""

    def __init__(self, connection: Connection, serve: Serve) -> None:
        """Answer with ``serve``."""
        self.connection = connection
        self.serve = serve
        self.credit = Turnstile()
        self._jobs: dict[int, CallJob] = {}
        self._most_bytes = 2 * connection.limits.message_window
        self._most_answers = 8 * connection.limits.message_window
        self._waiting_bytes = 0
        self._held: list[int] = []  # ids, in the order of arrival
        self._held_bytes = 0
        self._released: CallJob | None = None  # one at a time: tasks that are started together run in any order

    def __len__(self) -> int:
        return len(self._jobs)

    def on_call(self, event: CallArrived) -> None:
        """A call came in: its id is known before its worker runs, since CANCEL may be in the same batch."""
        job = self._jobs[event.call_id] = CallJob(self, event)
        if (self._held or self._waiting_bytes > self._most_bytes) and self._hold(job):
            return
        self.connection.workers.assign(job)

    def on_cancel(self, event: CancelArrived) -> None:
        """The caller gave up."""
        job = self._jobs.get(event.call_id)
        if job is None:
            return
        job.cancel()
        if job.span is not None:
            self.connection.instruments.tell(Instrument.span_event, job.span, "cancelled", event.reason)
        at = bisect.bisect_left(self._held, event.call_id)
        if self._held[at : at + 1] == [event.call_id]:
            del self._held[at]
            self._held_bytes -= job.body_size
            job.conclude()

    def on_lost(self) -> None:
        """The connection is gone: casts that run go on, the others get a moment; what has not begun is dropped."""
        until = trio.current_time() + self.connection.limits.cancel_grace
        for job in self._jobs.values():
            job.expire(until)
        held, self._held, self._held_bytes = self._held, [], 0
        for call_id in held:
            self._jobs[call_id].conclude()
        self._jobs.clear()
        self.credit.nudge()

    def expire_old(self) -> None:
        """End calls without streams that have run for longer than any call may.

        A sweep now and then, because a deadline of a scope costs more than most calls.
        """
        now = trio.current_time()
        for job in self._jobs.values():
            job.expire_if_older(now - self.connection.limits.call_lifetime, now)

    def finished(self, call_id: int) -> None:
        """The answer is on its way."""
        self._jobs.pop(call_id, None)

    def reply(self, call_id: int, answer: bytes) -> bool:
        """Send a small answer, if nothing is in its way; False if nothing was done."""
        connection = self.connection
        if self.credit.queue or not connection.open or not connection.session.reply_if_credit(call_id, answer):
            return False
        self._jobs.pop(call_id, None)
        connection.flush(alone=not self._jobs)
        return True

    # ------------------------------------------------------------------------------- while answers wait for credit

    def may_begin(self, job: CallJob) -> bool:
        """Whether a job that has got its worker may begin; else it is back in line.

        Calls that arrive together are given to workers before the first of them has an answer that waits.
        """
        if not (self._waiting_bytes or self._held or self._released):
            return True
        if self._released is job:
            self._released = None
        if self._waiting_bytes > self._most_bytes and job.can_wait:
            return not self._hold(job)
        self._release()
        return True

    def can_keep(self, size: int) -> bool:
        """Whether an answer of ``size`` bytes may wait with the others."""
        return self._waiting_bytes + size <= self._most_answers

    async def wait_for_credit(self, size: int, ready: Callable[[], bool]) -> None:
        """Wait until an answer of ``size`` bytes may leave, behind those that waited before."""
        self._waiting_bytes += size
        try:
            await self.credit.wait_turn(ready)
        finally:
            self._waiting_bytes -= size
        self._release()

    def _hold(self, job: CallJob) -> bool:
        """Put a job in line; False if even that would be too much, then it is to be told so."""
        if self._held_bytes + job.body_size > self._most_bytes:
            job.refuse(Overloaded("too many answers on this connection wait to be read", maybe_executed=False))
            return False
        bisect.insort(self._held, job.call_id)
        self._held_bytes += job.body_size
        return True

    def _release(self) -> None:
        if self._held and self._released is None and self._waiting_bytes <= self._most_bytes:
            job = self._released = self._jobs[self._held.pop(0)]
            self._held_bytes -= job.body_size
            self.connection.workers.assign(job)


class CallJob(Incoming):
    """One call being served."""

    __slots__ = (
        "_answer", "_cancelled", "_failed", "_in_line",
        "_lost", "_offer", "_outcome", "_scope", "_serving", "alone", "call_id",
    )  # fmt: skip

    def __init__(self, serving: Serving, event: CallArrived) -> None:
        """Take over the call that ``event`` tells of; its streams can receive from now on."""
        connection = serving.connection
        super().__init__(connection, event)
        self._serving = serving
        self.call_id = event.call_id
        self.alone = False
        if event.streams:
            self.alone = True
            self.streams = {name: connection.attach(ident, name) for name, ident in event.streams.items()}
            if ITEMS in self.streams:
                self.streams[ITEMS].when_broken = self._on_items_broken
        self._scope: trio.CancelScope | None = None
        self._cancelled = False
        self._lost = False
        self._failed = False
        self._in_line = False
        self._answer: bytes | None = None
        self._offer: Offer | None = None
        self._outcome = "cancelled"

    # ---------------------------------------------------------------------------------------- for the connection

    @property
    def body_size(self) -> int:
        """Bytes of the request that are kept until it begins."""
        return len(self.body)

    @property
    def can_wait(self) -> bool:
        """Whether there is a handler still to run, and somebody to wait for its answer."""
        return not (self._cancelled or self._lost or self._failed)

    def refuse(self, error: CallError) -> None:
        """Answer with ``error`` instead of running the handler."""
        self.body = b""
        self._keep_failure(error, executed=False)

    def cancel(self) -> None:
        """Stop the handler."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def expire(self, until: float) -> None:
        """The connection is lost: nobody will hear the answer."""
        self._lost = True
        if self.header.kind is _CAST:
            return
        self.deadline = min(self.deadline, until)
        if self._scope is not None:
            self._scope.deadline = min(self._scope.deadline, until)

    def expire_if_older(self, than: float, now: float) -> None:
        """End a call without streams that came in before ``than``."""
        if self.arrived < than and not self.streams:
            self.deadline = min(self.deadline, now)
            if self._scope is not None:
                self._scope.deadline = min(self._scope.deadline, now)

    def conclude(self) -> None:
        """Send what came out; nothing came out of a job that has not begun."""
        self._serving.finished(self.call_id)
        if self.streams:
            self._conclude_streams()
        connection = self._connection
        if not self._lost and connection.open:
            self._send()
        self._report()

    # -------------------------------------------------------------------------------------------- for the worker

    async def run(self, scope: trio.CancelScope) -> None:
        """Run the handler inside ``scope``, or put the job back in line."""
        self._in_line = not self._serving.may_begin(self)
        if self._in_line or self._cancelled or self._failed:
            return  # at once: from now on another worker may get it
        self._scope = scope
        try:
            if self.deadline != math.inf:
                self._check_in_time()
            self._keep(await self._serving.serve(self))
        except RemoteProtocolError as error:
            self._keep_malformed(error)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its caller's answer
            self._keep_failure(error, executed=self.begun)
        except BaseExceptionGroup as group:
            # Children of the handler failed while it was cancelled: the failure is its answer, the rest goes on.
            cancelled, failure = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(failure, Exception):
                raise
            self._keep_failure(failure, executed=self.begun)
            raise cancelled from None
        finally:
            self._scope = None

    def answer_nowait(self) -> bool:
        """Send what came out, if it has credit; False if it has to wait."""
        if self._in_line:
            return True
        if self._offer is not None:
            return False
        if self._outcome == "ok" and not (self.streams or self._lost or self.header.kind is _CAST):
            assert self._answer is not None
            if self._serving.reply(self.call_id, self._answer):  # nearly every call ends here
                self._report()
                return True
        size = 0 if self._lost else self._answer_size
        if size and (self._serving.credit.queue or not self._connection.session.has_credit(size)):
            return False
        self.conclude()
        return True

    async def answer(self) -> None:
        """Send what came out, when it has credit."""
        if self._in_line:
            return
        self.body, self._message = b"", None  # so that only the answer is kept while it waits
        if self._outcome == "unwanted":
            self._keep_failure(_unwanted(), executed=True)
        elif self._outcome == "cancelled" and not self._cancelled:
            late = DeadlineExceeded("the deadline passed while the handler ran")
            self._keep_failure(late, executed=True)
        size = self._answer_size

        offer = self._offer

        def ready() -> bool:
            session = self._connection.session
            return self._lost or (session.has_credit(size) and (offer is None or session.can_offer(len(offer))))

        if size and not self._serving.credit.free(ready):
            if not self._serving.can_keep(size):
                unread = Overloaded("the answer was dropped: too many on this connection wait to be read")
                self._keep_failure(unread, executed=True)
                size = self._answer_size
            await self._serving.wait_for_credit(size, ready)
        self.conclude()
        if offer is not None:
            await offer.drop()

    # ---------------------------------------------------------------------------------------------------- inside

    def _on_items_broken(self) -> None:
        """A caller that resets its items, and has not ended them before, wants nothing of what the handler does."""
        if self._lost or self._cancelled or self.streams[ITEMS].at_end:
            return
        if self._scope is None:
            self.refuse(_unwanted())
        else:
            self._outcome = "unwanted"
            self._scope.cancel()

    def _keep_malformed(self, error: RemoteProtocolError) -> None:
        # Only our own decoding raises it: a handler that lets one through is told apart by having begun.
        if self.begun:
            self._keep_failure(error, executed=True)
        elif self.header.forward and self.header.hops:
            # Not the fault of the peer, who has not read it, nor of the others who call over this connection.
            self._keep_failure(InvalidRequest(f"malformed: {error}", maybe_executed=False), executed=False)
        else:
            self._connection.refuse_bytes(error)

    def _check_in_time(self) -> None:
        if self.deadline <= self._connection.now():
            raise DeadlineExceeded("the deadline passed before the handler began", maybe_executed=False)

    def _report(self) -> None:
        header, instruments = self.header, self._connection.instruments
        took = trio.current_time() - self.arrived if instruments.timed else 0.0
        instruments.tell(Instrument.handler_finished, header.ns, header.cmd, header.key, self._outcome, took)
        if self.span is not None:
            instruments.tell(Instrument.span_ended, self.span, self._outcome)

    @property
    def _answer_size(self) -> int:
        return 0 if self._answer is None or self.header.kind is _CAST else len(self._answer)

    def _keep(self, value: object) -> None:
        if isinstance(value, Relayed):
            self._keep_relayed(value)
            return
        if isinstance(value, Reply):
            value = self._take_streams(value)
        if self.header.kind is _REQUEST:
            self._answer = encode(value)
            most = self._connection.peer_message_limit
            if len(self._answer) > most:
                way_out = "yield it in parts, or hand over a stream with a Reply"
                raise LocalProtocolError(f"a reply of {len(self._answer)} bytes; the caller takes {most}: {way_out}")
        self._outcome = "ok"

    def _keep_relayed(self, relayed: Relayed) -> None:
        if len(relayed.body) > self._connection.peer_message_limit:
            self._keep_failure(LocalProtocolError("the owner's answer is too large for the caller"), executed=True)
            return
        self._answer, self._failed, self._outcome = relayed.body, relayed.failed, "relayed"

    def _take_streams(self, reply: Reply[object]) -> object:
        if reply.sources:
            self._offer = Offer(reply.sources)
            if self.header.kind is _REQUEST:
                self._offer.check(self._connection)
        return reply.value

    def _keep_failure(self, error: Exception, *, executed: bool) -> None:
        self._failed = True
        self._outcome = type(error).__name__
        if not isinstance(error, CallError):
            _log.debug("handler of %s:%s failed", self.header.ns, self.header.cmd, exc_info=error)
        self._answer = encode_failure(error, executed=executed, declare=self.declare)

    def _send(self) -> None:
        session, call_id, is_cast = self._connection.session, self.call_id, self.header.kind is _CAST
        if self._answer is None or is_cast:
            if self._cancelled or is_cast:
                session.done(call_id)
        elif self._failed:
            session.fail(call_id, self._answer)
        else:
            if self._offer is not None and not self._cancelled:
                self._offer.open(self._connection, call_id)
            session.reply(call_id, self._answer)
        self._connection.flush(alone=not self._serving)

    def _conclude_streams(self) -> None:
        for name, stream in self.streams.items():
            if self._outcome == "ok" or name == ITEMS:  # what was yielded before a failure can still be read
                stream.conclude()
            else:
                code = ResetCode.CANCELLED if self._cancelled else ResetCode.FAILED
                stream.reset(code, f"the handler ended: {self._outcome}")
            self._connection.detach(stream.stream_id)


def _unwanted() -> StreamReset:
    return StreamReset("the caller gave up the items", code=ResetCode.CANCELLED)
