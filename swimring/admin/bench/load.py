"""Makes the calls of a plan over one client: closed loop or at a rate, a bounded number at once.

At a rate, a call is due at a time of its own whether those before it are answered or not, and its latency counts from
then: a cluster that stands still for a second is late for all calls of that second, not for the few that were made.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from .tally import Tally

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from .plan import Plan

NO_ANSWER: Final = "no answer"
"""The kind of error of a call whose time is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a load has shown.

    Attributes:
        tally: what became of the calls after the warm-up.
        seconds: how long that lasted.
        retries: attempts beyond the first of each call.
        busy: the share of one processor that this process took; near 1 it is what limits the rate.
        nodes_cpu: seconds of CPU that the nodes took for one call; None if that cannot be known.
    """

    tally: Tally
    seconds: float
    retries: int
    busy: float
    nodes_cpu: float | None = None

    @property
    def rate(self) -> float:
        """Good calls a second."""
        return self.tally.good / self.seconds if self.seconds else 0.0


class Asked(Protocol):
    """What a load asks of a client."""

    def request(self, message: Mapping[str, Any], *, idempotent: bool = False) -> Awaitable[Any]:
        """Make a call."""

    def counters(self) -> dict[str, int]:
        """Calls made, and retries."""


class Load:
    """One run of a plan."""

    def __init__(
        self,
        plan: Plan,
        mesh: Asked,
        *,
        rng: random.Random,
        nodes_cpu: Callable[[], float | None] = lambda: None,
    ) -> None:
        """``nodes_cpu`` tells the seconds of CPU that the nodes have taken so far."""
        self.tally = Tally()
        self._plan = plan
        self._mesh = mesh
        self._nodes_cpu = nodes_cpu
        self._choose = plan.chooser(rng)
        self._made = 0
        self._began = self._until = 0.0
        self._ended = False

    @property
    def done(self) -> float:
        """How much of it is over, from 0 to 1."""
        plan, passed = self._plan, anyio.current_time() - self._began
        timed = passed / plan.seconds if plan.seconds else 1.0
        return min(1.0, max(0.0, timed, self.tally.calls / plan.calls if plan.calls else 0.0))

    def end(self) -> None:
        """Make no more calls; those under way are waited for."""
        self._ended = True

    async def run(self) -> Measured:
        """Warm up, then make the calls; returns when all of them have ended."""
        if self._plan.warm_up:
            await self._make(self._plan.warm_up, None)
        self.tally = Tally()
        retries, cpu, nodes = self._mesh.counters()["retries"], _cpu_here(), self._nodes_cpu()
        began = anyio.current_time()
        await self._make(self._plan.seconds, self._plan.calls)
        seconds, after = anyio.current_time() - began, self._nodes_cpu()
        known = nodes is not None and after is not None and self.tally.calls
        return Measured(
            tally=self.tally,
            seconds=seconds,
            retries=self._mesh.counters()["retries"] - retries,
            busy=(_cpu_here() - cpu) / seconds,
            nodes_cpu=(after - nodes) / self.tally.calls if known and after is not None and nodes is not None else None,
        )

    async def _make(self, seconds: float, calls: int | None) -> None:
        self._began, self._made = anyio.current_time(), 0
        self._until = self._began + seconds
        async with anyio.create_task_group() as tasks:
            for _ in range(self._plan.concurrency):
                tasks.start_soon(self._call_on, calls)

    async def _call_on(self, calls: int | None) -> None:
        rate = self._plan.rate
        while not self._ended and (calls is None or self._made < calls):
            due = anyio.current_time() if rate is None else self._began + self._made / rate
            if due >= self._until:
                return
            self._made += 1
            if rate is not None:
                await anyio.sleep_until(due)
            await self._call(due)

    async def _call(self, due: float) -> None:
        plan, key = self._plan, self._choose()
        message = {"ns": plan.service, "cmd": plan.cmd, **plan.fields}
        if key is not None:
            message["key"] = key
        error: str | None = NO_ANSWER
        with anyio.move_on_after(plan.within):
            error = await self._ask(message)
        self.tally.note(anyio.current_time() - due, error)

    async def _ask(self, message: dict[str, Any]) -> str | None:
        """Make a call; return the kind of error it ended with, which may be a `TimeoutError` of its handler."""
        try:
            await self._mesh.request(message, idempotent=self._plan.idempotent)
        except Exception as failure:  # noqa: BLE001 - whatever a call ends with is counted
            return str(getattr(failure, "type_name", "") or type(failure).__name__)
        return None


def _cpu_here() -> float:
    spent = os.times()
    return spent.user + spent.system
