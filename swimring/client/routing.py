"""Where a call goes, and what follows when it is refused there: the rules of a node's routing, for a client.

A node hears of changes by gossip; a client has to ask. So each refusal that the ring may explain is followed by a look
at the members through another node, before the policy decides about the next attempt.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import anyio

from swimring.errors import CallError, CircuitOpen, Moved, NoSuchHandler, Overloaded, RemoteProtocolError, Unreachable
from swimring.policies import Ask, RetryPolicy, Wait, safe_to_retry

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from swimring.policies import Attempts
    from swimring.swim import Member

    from .directory import Directory
    from .link import Link
    from .links import Links
    from .message import Message
    from .refreshing import Refresher

    _T = TypeVar("_T")
    _Perform: TypeAlias = Callable[[Link, int, int], Awaitable[_T]]

NAMESPACE: Final = "swimring"
"""The service that every node answers for itself; it has no ring."""
_LEARN_WITHIN: Final = 1.0
_ASK_EVERY: Final = 0.1

_log = logging.getLogger("swimring.client")


class Routing:
    """Makes calls to wherever they belong. Every `CallError` it raises says which node was asked last."""

    def __init__(
        self,
        directory: Directory,
        links: Links,
        refresher: Refresher,
        *,
        home: str,
        rng: random.Random,
        policy: RetryPolicy | None = None,
    ) -> None:
        """``home`` is the node that answers for the namespace ``swimring`` as long as it can be reached."""
        self._directory = directory
        self._links = links
        self._refresher = refresher
        self._home = home
        self._rng = rng
        self._policy = policy or RetryPolicy()
        # Clients started together must not all begin with the same member.
        self._turns = itertools.count(rng.randrange(1 << 16))

    async def request(self, message: Message) -> Any:
        """Make a call where it belongs and return its result. The surrounding cancel scope is the deadline.

        Raises:
            CallError: the outcome, if it is not a result.
        """
        return await self._routed(
            message, lambda link, hops, attempt: link.request(message, hops=hops, attempt=attempt)
        )

    async def cast(self, message: Message) -> None:
        """Send a message where it belongs; nobody answers. Not sent again once it was sent.

        Raises:
            CallError: it was not sent.
        """
        await self._routed(message, lambda link, hops, attempt: link.cast(message, hops=hops, attempt=attempt))

    # ------------------------------------------------------------------------------------------------- attempts

    async def _routed(self, message: Message, perform: _Perform[_T]) -> _T:
        self._links.check_open()
        deadline = anyio.current_effective_deadline()
        attempts = self._policy.attempts(deadline=deadline, rng=self._rng)
        try:
            while True:
                target, hops = await self._next(message, attempts)
                try:
                    link = await self._links.to(target)
                    return await perform(link, hops, attempts.count - 1)
                except CallError as error:
                    error.key = message.key if error.key is None else error.key
                    error.owner = error.owner or target.name
                    if not safe_to_retry(error, idempotent=message.idempotent):
                        raise
                    attempts.failed(error)
                    await self._learn(error, target.name, until=deadline - self._policy.reserve)
        except CallError as error:
            # The outcome of the call, which may have run in an earlier attempt than the last.
            error.maybe_executed = error.maybe_executed or attempts.maybe_executed
            raise

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
                attempts.waited(ring_changed=await self._wait(message, verdict.until, after=attempts.error))
            elif isinstance(verdict, Ask) and target is not None:
                return target, verdict.hop
            else:
                raise attempts.error or Unreachable(f"no member takes keys of service {message.ns!r}", key=message.key)

    async def _wait(self, message: Message, until: float, *, after: CallError | None) -> bool:
        """Wait until ``until``, or until the ring of the service changes; whether it did.

        A node would hear of the change; a client asks for it, and all calls that wait share the answers.
        """
        before = self._version(message)
        with anyio.move_on_after(until - anyio.current_time()):
            while self._version(message) == before:
                with anyio.move_on_after(_ASK_EVERY):
                    await self._directory.changed.wait()
                    continue
                await self._refresher.refresh(after=after)
        return self._version(message) != before

    async def _learn(self, error: CallError, name: str, *, until: float) -> None:
        """Find out whether the members have changed, as ``error`` from ``name`` suggests."""
        if isinstance(error, (Overloaded, CircuitOpen)):
            return
        if isinstance(error, Moved) and error.records:
            changed = self._directory.changed
            try:
                self._directory.apply(error.records)
            except RemoteProtocolError as fault:
                _log.warning("%s shows records that are none: %s", name, fault)
            if changed.is_set():
                return
        with anyio.move_on_after(min(_LEARN_WITHIN, until - anyio.current_time())):
            await self._refresher.refresh(after=error)

    # -------------------------------------------------------------------------------------------------- targets

    def _version(self, message: Message) -> str:
        return self._directory.ring(message.ns).version

    async def _target(self, message: Message, attempts: Attempts) -> Member | None:
        """Whom to ask; None if the service is offered but nobody takes its keys.

        Raises:
            NoSuchHandler: nobody offers the service.
        """
        if message.ns == NAMESPACE:
            return self._first(self._home_first(), message, attempts)
        if message.ns and not self._directory.offering(message.ns):
            await self._refresher.refresh()  # somebody may have begun to offer it
        offering = self._directory.offering(message.ns)
        if not offering:
            raise NoSuchHandler(self._directory.nobody(message.ns), key=message.key)
        if message.key is not None:
            return self._directory.owner(message.ns, message.key)
        turn = next(self._turns) % len(offering)
        return self._first([*offering[turn:], *offering[:turn]], message, attempts)

    def _home_first(self) -> list[Member]:
        return sorted(self._directory.active, key=lambda member: member.name != self._home)

    def _first(self, candidates: Sequence[Member], message: Message, attempts: Attempts) -> Member | None:
        """The first that was not asked yet, or just the first."""
        version = self._version(message)
        fresh = (member for member in candidates if not attempts.has_asked(member.id, version))
        return next(fresh, candidates[0] if candidates else None)
