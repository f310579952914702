"""From a message to the node that answers it: find the owner, ask it, follow what it says, try again while that helps.

A call with a key goes to the owner of the key in the ring of its service; one without a key is handled here if a
pattern matches, else by the members that offer the service, in turn. Whether and when there is another attempt decides
`swimring.policies.RetryPolicy`; this module asks it, waits and sends.
"""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import trio

from swimring.errors import (
    CallError,
    Moved,
    NodeClosed,
    NoSuchHandler,
    RemoteProtocolError,
    Unreachable,
)
from swimring.instrument import Instrument, Instruments
from swimring.policies import Ask, RetryPolicy, Wait, safe_to_retry
from swimring.service import readable_again
from swimring.tracing import Trace, current_trace

from .calling import Superseded
from .following import Report, follow
from .outgoing import Outgoing, whole_message

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from swimring.identity import Address, Generation, Key, NodeId
    from swimring.policies import Attempts
    from swimring.swim import Member

_T = TypeVar("_T")

DIRECT: Final = 255
"""Hops of a call that names its member: that one handles it, whatever the ring says."""

_MAX_ATTEMPT: Final = 255
_MAX_LISTED: Final = 16


class RingView(Protocol):
    """What routing needs to know of the cluster; all of it is of one moment between two awaits."""

    @property
    def sequence(self) -> int:
        """A number that grows whenever any of the answers below may have changed."""

    def services(self) -> Sequence[str]:
        """The names of the services that are offered, in order."""

    def offering(self, service: str) -> Sequence[Member]:
        """The members that offer ``service`` and may be asked; empty if nobody does."""

    def owner(self, service: str, key: Key) -> Member | None:
        """The owner of ``key``; None if no member takes keys of ``service``."""

    def version(self, service: str) -> str:
        """The version of the ring of ``service``."""

    def place(self, service: str, key: Key) -> tuple[Member | None, str]:
        """What `owner` and `version` say."""

    def member(self, name: str) -> Member | None:
        """The member of that name, if it takes part."""

    def apply(self, records: Sequence[object]) -> None:
        """Take in member records in their wire form, so that the next answers follow from them.

        Raises:
            RemoteProtocolError: one of them is no record.
        """

    async def wait_changed(self, sequence: int) -> object:
        """Wait until `sequence` is greater than ``sequence``."""


class Door(Protocol):
    """One node that calls can be made to: a peer behind a connection, or this node itself."""

    async def request(self, out: Outgoing) -> Any:
        """Make a call, return its result; raises `CallError`."""

    async def cast(self, out: Outgoing) -> None:
        """Send a message that nobody answers; raises `CallError` if it was not sent."""

    def open(self, out: Outgoing) -> AbstractAsyncContextManager[Any]:
        """Make a call and hold it open; its streams are open inside the block."""


class Doors(Protocol):
    """Connections to all members."""

    def at_hand(self, name: str, generation: Generation) -> Door | None:
        """The door to a member whose connection is ready now. A call through it may raise `Superseded`."""

    async def peer(self, name: str, address: Address, generation: Generation) -> Door:
        """The door to one member, dialled if need be; raises `Unreachable`."""


@dataclass(frozen=True, slots=True)
class _Target:
    """The node to ask next."""

    id: NodeId
    address: Address | None
    """None for this node itself."""


class _Course:
    """How one call with an answer is made, and whether it can be made again."""

    def __init__(self, out: Outgoing) -> None:
        self._idempotent = out.idempotent
        self._once = not readable_again(out.streams)
        self._spent = False

    async def ask(self, door: Door, out: Outgoing) -> Any:
        """Make the call, wait for its result."""
        if not out.streams:
            return await door.request(out)
        async with door.open(out) as call:
            self._spent = self._once
            return await call.result()

    def may_repeat(self, error: CallError) -> bool:
        """Whether there may be another attempt after ``error``."""
        return not self._spent and safe_to_retry(error, idempotent=self._idempotent)


@dataclass(frozen=True, slots=True)
class _Failed:
    """An attempt that was made, at that version of the ring."""

    target: _Target
    version: str
    error: CallError


class Routing:
    """Makes calls from this node to wherever they belong.

    Every `CallError` that leaves it carries the key, the node asked last and whether the handler may have run.
    """

    def __init__(
        self,
        *,
        me: NodeId,
        view: RingView,
        peers: Doors,
        here: Door,
        handles: Callable[[Mapping[str, object]], bool],
        rng: random.Random,
        instruments: Instruments | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        """``here`` is the door to this node, ``handles`` whether a pattern registered here matches a message."""
        self._me = me
        self._view = view
        self._peers = peers
        self._here = here
        self._handles = handles
        self._rng = rng
        self._instruments = instruments or Instruments()
        self._policy = policy or RetryPolicy()
        # Nodes started together must not all begin with the same member.
        self._turns = itertools.count(rng.randrange(1 << 16))
        self._closed = False

    def close(self) -> None:
        """Begin no more attempts: the doors are about to close."""
        self._closed = True

    def begin_trace(self) -> Trace:
        """The first span of a new trace; nothing is in it before somebody uses it."""
        return Trace.begin(self._rng)

    def _traced(self, out: Outgoing) -> Outgoing:
        """The call as a span of its own, if it is made in a trace that somebody records."""
        trace = current_trace()
        if trace is None or out.traceparent is not None:
            return out
        return replace(out, traceparent=str(trace.child(self._rng) if trace.sampled else trace))

    def request(self, out: Outgoing) -> Coroutine[Any, Any, Any]:
        """Make a call where it belongs and return its result. The surrounding cancel scope is the deadline.

        Refusals are tried again until the deadline; a lost connection is, if the call is idempotent. Streams are fed
        from their sources in each attempt; one with a source that can be read only once ends with the first that
        was sent.

        Raises:
            CallError: the outcome, if it is not a result.
            NodeClosed: this node was left before there was an outcome.
        """
        if self._instruments.traced or current_trace() is not None:
            return self._request_in_trace(out)
        return self._request(out)

    async def _request_in_trace(self, out: Outgoing) -> Any:
        if not self._instruments.traced:
            return await self._request(self._traced(out))
        with follow(self._instruments, out) as following:
            return await self._request(self._traced(out.followed(following)))

    async def _request(self, out: Outgoing) -> Any:
        first, outcome, timed = None, "cancelled", self._instruments.timed
        started = trio.current_time() if timed else 0.0
        try:  # as `Report`, at a tenth of what a context manager costs
            if out.key is not None and not out.streams:
                # Nearly every call is over after this: no attempts are counted before one has failed.
                if self._closed:
                    self._check_open()
                owner, version = self._view.place(out.ns, out.key)
                door = None if owner is None else self._at_hand(owner)
                if owner is not None and door is not None:
                    try:
                        asked = door.request(out) if out.following is None else self._ask_first(owner, door, out)
                        value, outcome = await asked, "ok"
                        return value
                    except Superseded:
                        pass
                    except CallError as error:
                        first = _Failed(_Target(owner.id, owner.address), version, error)
            course = _Course(out)
            (value, _), outcome = await self._routed(out, course.ask, course.may_repeat, first), "ok"
            return value
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            took = trio.current_time() - started if timed else 0.0
            self._instruments.tell(Instrument.call_finished, out.ns, out.cmd, out.key, outcome, took)

    async def cast(self, out: Outgoing) -> None:
        """Send a message where it belongs; nobody answers. Not sent again once it was sent.

        Raises:
            CallError: it was not sent.
        """
        with Report(self._instruments, out) as out:
            await self._routed(self._traced(out), lambda door, final: door.cast(final), safe_to_retry)

    @asynccontextmanager
    async def open(self, out: Outgoing) -> AsyncIterator[Any]:
        """Make a call and hold it open, with its streams; leaving the block cancels it if it is not over.

        Only what happens before the call is sent is tried again, because a stream cannot be sent twice. If the answer
        is that another node owns the key, the ring knows it when the error is raised.

        Raises:
            CallError: the call could not be made, or what the block lets through of its outcome.
        """
        with Report(self._instruments, out) as out:
            async with AsyncExitStack() as stack:
                call, target = await self._routed(self._traced(out), _held_by(stack), safe_to_retry)
                try:
                    yield call
                except Moved as error:
                    if error.owner == target.id.name:
                        self._learn(error)
                    raise

    # ---------------------------------------------------------------------------------------------- one certain node

    async def request_at(self, name: str, out: Outgoing) -> Any:
        """Make a call to the member ``name``, whatever the ring says, once.

        Raises:
            CallError: the outcome, if it is not a result.
        """
        with Report(self._instruments, out) as out:
            return await self._at(name, out, _Course(out).ask)

    async def cast_at(self, name: str, out: Outgoing) -> None:
        """Send a message to the member ``name``, whatever the ring says, once.

        Raises:
            CallError: it was not sent.
        """
        with Report(self._instruments, out) as out:
            await self._at(name, out, lambda door, final: door.cast(final))

    @asynccontextmanager
    async def open_at(self, name: str, out: Outgoing) -> AsyncIterator[Any]:
        """Make a call to the member ``name``, whatever the ring says, and hold it open.

        Raises:
            CallError: the call could not be made, or what the block lets through of its outcome.
        """
        with Report(self._instruments, out) as out:
            async with AsyncExitStack() as stack:
                yield await self._at(name, out, _held_by(stack))

    async def _at(self, name: str, out: Outgoing, perform: Callable[[Door, Outgoing], Awaitable[_T]]) -> _T:
        out = replace(self._traced(out), hops=DIRECT)
        if out.following is None:
            return await perform(await self._door(name, out), out)
        member = self._view.member(name)
        with out.following.attempt(name, 0, member.address if member else None) as attempt:
            return await perform(await self._door(name, out), out.followed(attempt))

    async def _door(self, name: str, out: Outgoing) -> Door:
        self._check_open()
        if name == self._me.name:
            return self._here
        member = self._view.member(name)
        if member is None:
            raise Unreachable(f"no member named {name!r} is here", key=out.key, owner=name)
        return await self._peers.peer(name, member.address, member.generation)

    def _check_open(self) -> None:
        if self._closed:
            raise NodeClosed(f"{self._me.name} has left its cluster")

    # ------------------------------------------------------------------------------------------------- attempts

    async def _routed(
        self,
        out: Outgoing,
        perform: Callable[[Door, Outgoing], Awaitable[_T]],
        may_repeat: Callable[[CallError], bool],
        first: _Failed | None = None,
    ) -> tuple[_T, _Target]:
        """Attempt after attempt, until one succeeds or must not be followed by another; what it gave, and where.

        ``first`` has been made and has failed.
        """
        attempts = self._policy.attempts(deadline=trio.current_effective_deadline(), rng=self._rng)
        try:
            if first is not None:
                attempts.consider(first.target.id, first.version, now=trio.current_time())
                self._judge(first.error, out, first.target, attempts, may_repeat)
            while True:
                target, hop = await self._next(out, attempts)
                try:
                    return await self._ask(target, _numbered(out, hop, attempts), perform), target
                except CallError as error:
                    self._judge(error, out, target, attempts, may_repeat)
        except CallError as error:
            # The outcome of the call, which may have run in an earlier attempt than the last.
            error.maybe_executed = error.maybe_executed or attempts.maybe_executed
            raise

    def _judge(
        self,
        error: CallError,
        out: Outgoing,
        target: _Target,
        attempts: Attempts,
        may_repeat: Callable[[CallError], bool],
    ) -> None:
        """Complete what ``error`` says, learn from it, and raise it if it must not be followed by another attempt."""
        if error.key is None:
            error.key = out.key
        if error.owner is None:
            error.owner = target.id.name
        if isinstance(error, Moved):
            self._learn(error)
        if not may_repeat(error):
            raise error
        attempts.failed(error)

    async def _next(self, out: Outgoing, attempts: Attempts) -> tuple[_Target, int]:
        """Wait until there is somebody to ask; whom, and how many were asked before in this round.

        Raises:
            CallError: there is no time left to ask anybody (the last outcome), or nobody offers the service.
            NodeClosed: this node was left.
        """
        while True:
            self._check_open()
            target = self._target(out, attempts)
            version = self._view.version(out.ns)
            verdict = attempts.consider(target.id if target else None, version, now=trio.current_time())
            if isinstance(verdict, Wait):
                attempts.waited(ring_changed=await self._wait(out, verdict.until))
            elif isinstance(verdict, Ask) and target is not None:
                if attempts.error is not None:
                    reason = type(attempts.error).__name__
                    self._instruments.tell(Instrument.call_retried, out.ns, out.cmd, out.key, reason)
                    if out.following is not None:
                        out.following.tell("moved" if isinstance(attempts.error, Moved) else "retry", reason)
                return target, verdict.hop
            else:
                raise attempts.error or Unreachable(f"no member takes keys of service {out.ns!r}", key=out.key)

    async def _ask(self, target: _Target, out: Outgoing, perform: Callable[[Door, Outgoing], Awaitable[_T]]) -> _T:
        if out.following is None:
            return await perform(await self._reach(target), out)
        with out.following.attempt(target.id.name, out.attempt, target.address) as attempt:
            return await perform(await self._reach(target), out.followed(attempt))

    async def _ask_first(self, owner: Member, door: Door, out: Outgoing) -> Any:
        """The first attempt of a call that somebody follows."""
        assert out.following is not None
        with out.following.attempt(owner.name, 0, owner.address) as attempt:
            return await door.request(out.followed(attempt))

    async def _reach(self, target: _Target) -> Door:
        if target.address is None or target.id.name == self._me.name:
            return self._here
        return await self._peers.peer(target.id.name, target.address, target.id.generation)

    async def _wait(self, out: Outgoing, until: float) -> bool:
        """Wait until ``until`` or, at most, until there is another owner or ring to ask; whether there is."""
        before = self._situation(out)
        with trio.move_on_at(until):
            while self._situation(out) == before:
                await self._view.wait_changed(self._view.sequence)
            return True
        return False

    def _situation(self, out: Outgoing) -> tuple[str, tuple[NodeId, ...]]:
        # Changes of other services leave a waiting call alone, else a busy cluster would keep it from trying again.
        offering = self._view.offering(out.ns)
        if out.key is not None and offering:
            owner = self._view.owner(out.ns, out.key)
            offering = () if owner is None else (owner,)
        return self._view.version(out.ns), tuple(member.id for member in offering)

    def _learn(self, refusal: Moved) -> None:
        try:
            self._view.apply(refusal.records)
        except RemoteProtocolError as fault:
            reason = f"records of a refusal: {fault}"
            self._instruments.refuse_bytes("stream", reason, source=refusal.owner, now=trio.current_time())

    # -------------------------------------------------------------------------------------------------- targets

    def _at_hand(self, owner: Member) -> Door | None:
        """The door to ``owner``, if no connection has to be made first."""
        name = owner.name
        return self._here if name == self._me.name else self._peers.at_hand(name, owner.generation)

    def _target(self, out: Outgoing, attempts: Attempts) -> _Target | None:
        """Whom to ask; None if the service is offered but nobody takes its keys.

        Raises:
            NoSuchHandler: nobody offers the service.
        """
        offering = self._view.offering(out.ns)
        if out.key is None or not offering:
            return self._anyone(out, offering, attempts)
        owner = self._view.owner(out.ns, out.key)
        return None if owner is None else _Target(owner.id, owner.address)

    def _anyone(self, out: Outgoing, offering: Sequence[Member], attempts: Attempts) -> _Target:
        """This node if it has a handler, then those that offer the service; first those not asked yet."""
        turn = next(self._turns) % len(offering) if offering else 0
        turned = [*offering[turn:], *offering[:turn]]
        candidates = [_Target(member.id, member.address) for member in turned if member.name != self._me.name]
        if self._handles(whole_message(out)):
            candidates.insert(0, _Target(self._me, None))
        elif len(candidates) < len(offering):
            candidates.append(_Target(self._me, None))  # offered here, but not this: its refusal names the nearest
        if not candidates:
            raise NoSuchHandler(self._nobody(out), key=out.key)
        version = self._view.version(out.ns)
        return next((one for one in candidates if not attempts.has_asked(one.id, version)), candidates[0])

    def _nobody(self, out: Outgoing) -> str:
        if not out.ns:
            return "the message names no service (ns), and no pattern here matches it"
        offered = list(itertools.islice(self._view.services(), _MAX_LISTED))
        return f"no member offers service {out.ns!r}; offered: {', '.join(offered) or 'none'}"


def _held_by(stack: AsyncExitStack) -> Callable[[Door, Outgoing], Awaitable[Any]]:
    """Make a call and hold it open, and the attempt that it is, until ``stack`` is left."""

    async def enter(door: Door, final: Outgoing) -> Any:
        call = await stack.enter_async_context(door.open(final))
        if final.following is not None:
            stack.push(final.following.keep())
        return call

    return enter


def _numbered(out: Outgoing, hop: int, attempts: Attempts) -> Outgoing:
    return replace(out, hops=hop, attempt=min(attempts.count - 1, _MAX_ATTEMPT))
