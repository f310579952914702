"""A checkpoint on its way to the nodes behind its owner on the ring, until enough of them have it.

One call to each node is under way at a time; what is to be sent meanwhile goes with the next one. So the busier a node
is, the more checkpoints share a call.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from swimring.errors import CallError, Overloaded

from .holdings import Copy, Verdict
from .lines import Lines

if TYPE_CHECKING:
    from .asking import Asking
    from .rebalancer import Rebalancer

PATIENCE: Final = 0.5
"""Seconds after which a replica that does not answer is replaced by the next node."""
MAX_QUEUED: Final = 1_000
MAX_BYTES: Final = 256 * 1024
_RETRY: Final = 0.1
_SPARE: Final = 2
"""Nodes besides the replicas of the ring that may keep a checkpoint. When its owner has crashed, these are the owner,
the replicas and one more of the next ring: those whom a claim asks."""

_Sent: TypeAlias = tuple[Copy, Callable[[str, Any], None]]
"""A copy, and who hears what a node said of it."""


class Fenced(Exception):
    """Another owner has a later fence, of this number."""

    def __init__(self, number: int) -> None:
        """``number`` is that of the later fence."""
        super().__init__(number)
        self.number = number


class Replication:
    """Brings copies to replicas.

    At most 1,000 copies wait for one node; to more it counts as unreachable.
    """

    def __init__(self, asking: Asking, *, rings: Rebalancer, nursery: trio.Nursery) -> None:
        """Ask through ``asking``, whoever ``rings`` name; calls belong to ``nursery``."""
        self._asking = asking
        self._rings = rings
        self._lines: Lines[_Sent] = Lines(
            self._send_all, cost=lambda sent: sent[0].cost, most=MAX_QUEUED, most_bytes=MAX_BYTES, nursery=nursery
        )

    async def replicate(self, copy: Copy) -> bool:
        """Return when as many others have it as ``copy`` asks for, or all there are if they are fewer.

        Whether those are the ones that follow on the ring; False if one of them was replaced.

        Raises:
            Fenced: one of them knows a later fence.
            Overloaded: nobody who could keep it instead has room.
        """
        attempt = _Attempt(copy.replicas)
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            others = self._others(copy)
            due = attempt.next(others, now=trio.current_time())
            if due is None:
                return attempt.have.issuperset(others[: copy.replicas])
            for name in due:
                self._send(name, copy, attempt.hear)
            with trio.CancelScope(deadline=attempt.wake_at):
                await attempt.stirred.wait()
            if attempt.fenced is not None:
                raise Fenced(attempt.fenced)
            if attempt.is_hopeless(others):
                raise Overloaded("no replica has room for this state", owner=self._asking.me)

    def _others(self, copy: Copy) -> tuple[str, ...]:
        service, key = copy.place
        ring = self._rings.ring(service)
        names = ring.owners(key, copy.replicas + _SPARE + 1)
        return tuple(name for name in names if name != self._asking.me)[: copy.replicas + _SPARE]

    def _send(self, name: str, copy: Copy, hear: Callable[[str, Any], None]) -> None:
        if self._lines.waiting(name) >= MAX_QUEUED:
            hear(name, None)
        else:
            self._lines.put(name, (copy, hear))

    async def _send_all(self, name: str, batch: list[_Sent]) -> None:
        answer: Any = None
        with contextlib.suppress(CallError):  # each of them hears that there was no answer
            answer = await self._asking.ask(name, "replicate", {"copies": [copy.to_wire() for copy, _ in batch]})
        told = answer if isinstance(answer, list) and len(answer) == len(batch) else [None] * len(batch)
        for (_, hear), one in zip(batch, told, strict=True):
            hear(name, one)


class _Attempt:
    """Who has the copy, who was asked and when."""

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._asked: dict[str, float] = {}
        self._failed: dict[str, float] = {}
        self.stirred = trio.Event()
        self.have: set[str] = set()
        self.full: set[str] = set()
        self.fenced: int | None = None
        self.wake_at = math.inf

    def next(self, others: tuple[str, ...], *, now: float) -> list[str] | None:
        """Whom to send it to now; None if enough have it. `wake_at` says when to look again."""
        need = min(self._replicas, len(others))
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

    def is_hopeless(self, others: tuple[str, ...]) -> bool:
        """Whether more have to have it, and nobody is left who has room."""
        lacking = len(self.have) < min(self._replicas, len(others))
        return lacking and self.full.issuperset(set(others) - self.have)

    def _may_ask(self, name: str, now: float) -> bool:
        return name not in self.have and name not in self._asked and self._failed.get(name, -math.inf) <= now

    def hear(self, name: str, answer: Any) -> None:
        """What one of them said; None if it said nothing."""
        match answer:
            case [Verdict.HELD, *_]:
                self.have.add(name)
            case [Verdict.FENCED, int(number), *_]:
                self.fenced = number
            case [Verdict.FULL, *_]:
                self.full.add(name)
        if name not in self.have:
            self._failed[name] = trio.current_time() + _RETRY
        self._asked.pop(name, None)
        if name not in self.have or len(self.have) >= self._replicas or not self._asked:
            self.stirred.set()  # else there is nothing to do but to wait for the rest
