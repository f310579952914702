"""Where a call goes, and what follows when it is refused there: the rules of a node's routing, for a client.

A node hears of changes by gossip, a client from the node that it follows. As that may be the one that is gone, each
refusal that the ring may explain is followed by a look at the members through another node, which is told whom the
client could not reach, before the policy decides about the next attempt.
"""

from __future__ import annotations

import itertools
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import anyio

from swimring.errors import CallError, CircuitOpen, Moved, NoSuchHandler, Overloaded, RemoteProtocolError, Unreachable
from swimring.instrument import Instrument, Instruments
from swimring.policies import Ask, RetryPolicy, Wait, safe_to_retry
from swimring.service import readable_again
from swimring.tracing import Trace, current_trace

from .following import NAMESPACE
from .telling import Report

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from swimring.policies import Attempts
    from swimring.service import HeldCall
    from swimring.swim import Member

    from .directory import Directory
    from .following import Follower
    from .link import Link
    from .links import Links
    from .message import Message

    _T = TypeVar("_T")
    _Perform: TypeAlias = Callable[[Link, int, int], Awaitable[_T]]

_MONITORING: Final = "monitoring"
"""What every node answers, unless a service of this name is offered."""
_LEARN_WITHIN: Final = 1.0

_log = logging.getLogger("swimring.client")


class _Course:
    """How one call with an answer is made, and whether it can be made again."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._once = not readable_again(message.streams)
        self._spent = False

    async def ask(self, link: Link, hops: int, attempt: int) -> Any:
        """Make the call, wait for its result."""
        if not self._message.streams:
            return await link.request(self._message, hops=hops, attempt=attempt)
        async with link.open(self._message, hops=hops, attempt=attempt) as call:
            self._spent = self._once
            return await call.result()

    def may_repeat(self, error: CallError) -> bool:
        """Whether there may be another attempt after ``error``."""
        return not self._spent and safe_to_retry(error, idempotent=self._message.idempotent)


class Routing:
    """Makes calls to wherever they belong. Every `CallError` it raises says which node was asked last."""

    def __init__(
        self,
        directory: Directory,
        links: Links,
        follower: Follower,
        *,
        home: str,
        rng: random.Random,
        policy: RetryPolicy | None = None,
        forward: bool = False,
        instruments: Instruments | None = None,
    ) -> None:
        """``home`` is the node that answers for the namespace ``swimring`` as long as it can be reached.

        With ``forward`` it is asked everything that nodes hand on to each other: what has no streams.
        """
        self.calls = self.retries = 0
        """Calls made, and attempts beyond the first of each."""
        self._directory = directory
        self._links = links
        self._follower = follower
        self._home = home
        self._forward = forward
        self._rng = rng
        self._policy = policy or RetryPolicy()
        self._instruments = instruments or Instruments()
        # Clients started together must not all begin with the same member.
        self._turns = itertools.count(rng.randrange(1 << 16))

    def begin_trace(self) -> Trace:
        """The first span of a new trace."""
        return Trace.begin(self._rng)

    def traceparent(self) -> str | None:
        """What a call carries that is made in a trace: a span of its own."""
        trace = current_trace()
        if trace is None:
            return None
        return str(trace.child(self._rng) if trace.sampled else trace)

    async def request(self, message: Message) -> Any:
        """Make a call where it belongs and return its result. The surrounding cancel scope is the deadline.

        Raises:
            CallError: the outcome, if it is not a result.
        """
        course = _Course(message)
        with Report(self._instruments, message):
            value, _ = await self._routed(message, course.ask, course.may_repeat)
        return value

    async def cast(self, message: Message) -> None:
        """Send a message where it belongs; nobody answers. Not sent again once it was sent.

        Raises:
            CallError: it was not sent.
        """

        async def send(link: Link, hops: int, attempt: int) -> None:
            await link.cast(message, hops=hops, attempt=attempt)

        with Report(self._instruments, message):
            await self._routed(message, send, safe_to_retry)

    @asynccontextmanager
    async def open(self, message: Message) -> AsyncIterator[HeldCall]:
        """Make a call and hold it open, with its streams; leaving the block cancels it if it is not over.

        Only what happens before the call is sent is tried again, because a stream cannot be sent twice. If the answer
        is that another node owns the key, the ring knows it when the error is raised.

        Raises:
            CallError: the call could not be made, or what the block lets through of its outcome.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(Report(self._instruments, message))

            async def enter(link: Link, hops: int, attempt: int) -> HeldCall:
                call = await stack.enter_async_context(link.open(message, hops=hops, attempt=attempt))
                if message.attempt is not None:
                    stack.push(message.attempt.keep())
                return call

            call, target = await self._routed(message, enter, safe_to_retry)
            try:
                yield call
            except Moved as error:
                if error.owner == target:
                    self._take_in(error, target)
                raise

    # ------------------------------------------------------------------------------------------------- attempts

    async def _routed(
        self, message: Message, perform: _Perform[_T], may_repeat: Callable[[CallError], bool]
    ) -> tuple[_T, str]:
        """Attempt after attempt, until one succeeds or must not be followed by another; what it gave, and where."""
        self._links.check_open()
        self.calls += 1
        deadline = message.deadline = anyio.current_effective_deadline()
        message.forward = self._forward and not message.streams
        attempts = self._policy.attempts(deadline=deadline, rng=self._rng)
        try:
            while True:
                target, hops = await self._next(message, attempts)
                self.retries += attempts.count > 1
                try:
                    return await self._ask(target, hops, attempts.count - 1, message, perform), target.name
                except CallError as error:
                    error.key = message.key if error.key is None else error.key
                    error.owner = error.owner or target.name
                    if not may_repeat(error):
                        raise
                    attempts.failed(error)
                    await self._learn(error, target.name, until=deadline - self._policy.reserve)
        except CallError as error:
            # The outcome of the call, which may have run in an earlier attempt than the last.
            error.maybe_executed = error.maybe_executed or attempts.maybe_executed
            raise

    async def _ask(self, target: Member, hops: int, number: int, message: Message, perform: _Perform[_T]) -> _T:
        if message.following is None:
            return await perform(await self._links.to(target), hops, number)
        with message.following.attempt(target.name, number, target.address) as message.attempt:
            message.traceparent = message.attempt.traceparent(message.traceparent)
            return await perform(await self._links.to(target), hops, number)

    async def _next(self, message: Message, attempts: Attempts) -> tuple[Member, int]:
        """Wait until there is somebody to ask; whom, and how many were asked before in this round.

        Raises:
            CallError: there is no time left to ask anybody (the last outcome), or nobody offers the service.
        """
        while True:
            target = await self._target(message, attempts)
            verdict = attempts.consider(
                None if target is None else target.id, self._version(message), now=anyio.current_time()
            )
            if isinstance(verdict, Wait):
                attempts.waited(ring_changed=await self._wait(message, verdict.until))
            elif isinstance(verdict, Ask) and target is not None:
                if attempts.error is not None:
                    self._tell_retry(message, attempts.error)
                return target, verdict.hop
            else:
                raise attempts.error or Unreachable(f"no member takes keys of service {message.ns!r}", key=message.key)

    def _tell_retry(self, message: Message, error: CallError) -> None:
        reason = type(error).__name__
        self._instruments.tell(Instrument.call_retried, message.ns, message.cmd, message.key, reason)
        if message.following is not None:
            message.following.tell("moved" if isinstance(error, Moved) else "retry", reason)

    async def _wait(self, message: Message, until: float) -> bool:
        """Wait until ``until``, or until the ring of the service changes; whether it did."""
        before = self._version(message)
        with anyio.move_on_after(until - anyio.current_time()):
            while self._version(message) == before:
                await self._directory.changed.wait()
        return self._version(message) != before

    async def _learn(self, error: CallError, name: str, *, until: float) -> None:
        """Find out whether the members have changed, as ``error`` from ``name`` suggests."""
        if isinstance(error, (Overloaded, CircuitOpen)):
            return
        if isinstance(error, Moved) and self._take_in(error, name):
            return
        with anyio.move_on_after(min(_LEARN_WITHIN, until - anyio.current_time())):
            await self._follower.refresh(after=error)

    def _take_in(self, refusal: Moved, name: str) -> bool:
        """Patch the rings with the records that ``refusal`` carries; whether that changed anything."""
        changed = self._directory.changed
        try:
            self._directory.apply(refusal.records)
        except RemoteProtocolError as fault:
            _log.warning(
                "%s shows records that are none: %s", name, fault, extra={"event": "records.refused", "peer": name}
            )
        return changed.is_set()

    # -------------------------------------------------------------------------------------------------- targets

    def _version(self, message: Message) -> str:
        return self._directory.ring(message.ns).version

    async def _target(self, message: Message, attempts: Attempts) -> Member | None:
        """Whom to ask; None if the service is offered but nobody takes its keys.

        Raises:
            NoSuchHandler: nobody offers the service.
        """
        if message.ns == NAMESPACE or (message.ns == _MONITORING and not self._directory.offering(_MONITORING)):
            return self._first(self._home_first(), message, attempts)
        if message.ns and not self._directory.offering(message.ns):
            await self._follower.refresh()  # somebody may have begun to offer it
        offering = self._directory.offering(message.ns)
        if not offering:
            raise NoSuchHandler(self._directory.nobody(message.ns), key=message.key)
        if message.forward:
            return self._first(self._connected_first(), message, attempts)
        if message.key is not None:
            return self._directory.owner(message.ns, message.key)
        turn = next(self._turns) % len(offering)
        return self._first([*offering[turn:], *offering[:turn]], message, attempts)

    def _home_first(self) -> list[Member]:
        return sorted(self._directory.active, key=lambda member: member.name != self._home)

    def _connected_first(self) -> list[Member]:
        return sorted(self._home_first(), key=lambda one: self._links.current(one.name, one.generation) is None)

    def _first(self, candidates: Sequence[Member], message: Message, attempts: Attempts) -> Member | None:
        """The first that was not asked yet, or just the first."""
        version = self._version(message)
        fresh = (member for member in candidates if not attempts.has_asked(member.id, version))
        return next(fresh, candidates[0] if candidates else None)
