"""A checkpoint on its way to the nodes behind its owner on the ring, until enough of them have it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import trio

from swimring.errors import CallError

from .holdings import Verdict

if TYPE_CHECKING:
    from .asking import Asking
    from .holdings import Copy
    from .rebalancer import Rebalancer

PATIENCE: Final = 0.5
"""Seconds after which a replica that does not answer is replaced by the next node."""
_RETRY: Final = 0.1
_CANDIDATES: Final = 64


class Fenced(Exception):
    """Another owner has a later fence, of this number."""

    def __init__(self, number: int) -> None:
        """``number`` is that of the later fence."""
        super().__init__(number)
        self.number = number


class Replication:
    """Brings copies to replicas."""

    def __init__(self, asking: Asking, *, rings: Rebalancer) -> None:
        """Ask through ``asking``, whoever ``rings`` name."""
        self._asking = asking
        self._rings = rings

    async def replicate(self, copy: Copy) -> int:
        """Return how many others have it: as many as ``copy`` asks for, or all there are if they are fewer.

        Raises:
            Fenced: one of them knows a later fence.
        """
        if not copy.replicas or not self._others(copy):
            await trio.lowlevel.checkpoint()
            return 0
        attempt = _Attempt(self._asking, copy)
        async with trio.open_nursery() as nursery:
            while attempt.fenced is None:
                others = self._others(copy)
                due = attempt.next(others, now=trio.current_time())
                if due is None:
                    break
                for name in due:
                    nursery.start_soon(attempt.send, name)
                with trio.CancelScope(deadline=attempt.wake_at):
                    await attempt.stirred.wait()
            nursery.cancel_scope.cancel()
        if attempt.fenced is not None:
            raise Fenced(attempt.fenced)
        return len(attempt.have)

    def _others(self, copy: Copy) -> tuple[str, ...]:
        service, key = copy.place
        ring = self._rings.ring(service)
        return tuple(name for name in ring.owners(key, min(len(ring), _CANDIDATES)) if name != self._asking.me)


class _Attempt:
    """Who has the copy, who was asked and when."""

    def __init__(self, asking: Asking, copy: Copy) -> None:
        self._asking = asking
        self._copy = copy
        self._asked: dict[str, float] = {}
        self._failed: dict[str, float] = {}
        self.stirred = trio.Event()
        self.have: set[str] = set()
        self.fenced: int | None = None
        self.wake_at = math.inf

    def next(self, others: tuple[str, ...], *, now: float) -> list[str] | None:
        """Whom to send it to now; None if enough have it. `wake_at` says when to look again."""
        need = min(self._copy.replicas, len(others))
        if len(self.have) >= need:
            return None
        self.stirred = trio.Event()
        quick = [name for name in others if name in self._asked and now < self._asked[name] + PATIENCE]
        lacking = need - len(self.have) - len(quick)
        fresh = [name for name in others if self._may_ask(name, now)][: max(0, lacking)]
        for name in fresh:
            self._asked[name] = now
        # A change of the ring wakes nobody: it is seen after this patience at the latest.
        timers = [self._asked[name] + PATIENCE for name in (*quick, *fresh)]
        timers += [until for name, until in self._failed.items() if name in others and until > now]
        self.wake_at = min(timers, default=now + PATIENCE)
        return fresh

    def _may_ask(self, name: str, now: float) -> bool:
        return name not in self.have and name not in self._asked and self._failed.get(name, -math.inf) <= now

    async def send(self, name: str) -> None:
        """Ask one of them to keep it."""
        try:
            answer = await self._asking.ask(name, "replicate", {"copies": [self._copy.to_wire()]})
        except CallError:
            answer = None
        self._hear(name, answer)
        self.stirred.set()

    def _hear(self, name: str, answer: Any) -> None:
        match answer:
            case [[Verdict.HELD, *_]]:
                self.have.add(name)
            case [[Verdict.FENCED, int(number), *_]]:
                self.fenced = number
        if name not in self.have:
            self._failed[name] = trio.current_time() + _RETRY
        self._asked.pop(name, None)
