"""Tasks that serve calls, kept for the next call: a new task and scope for each would cost half the throughput.

A worker keeps its cancel scope until it is cancelled and sets its deadline for each call. Each call gets a fresh
context, so nothing of one request is seen by the next. A call with streams gets a task and a scope of its own: it is
long enough not to notice what they cost.
"""

from __future__ import annotations

import contextvars
import math
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_IDLE: Final = 1024


class Job(Protocol):
    """One call to serve."""

    alone: bool
    """Whether it gets a task of its own, which ends with it."""

    @property
    def is_disturbed(self) -> bool:
        """Whether the scope it ran in may be cancelled or may have a deadline."""

    async def run(self, scope: trio.CancelScope) -> None:
        """Run the handler inside ``scope``, which a cancel or the deadline cancels. Raises only Cancelled."""

    def answer_nowait(self) -> bool:
        """Send what came out, if it has credit; False if it has to wait."""

    async def answer(self) -> None:
        """Send what came out, outside of the scope: when it was cancelled, or has to wait for credit."""


class _Worker:
    __slots__ = ("_idle", "job", "task")

    def __init__(self, task: trio.lowlevel.Task, idle: list[_Worker]) -> None:
        self.task = task
        self.job: Job | None = None
        self._idle = idle

    def stop_waiting(self, _raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        """It is cancelled while it has no job."""
        self._idle.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED


class Workers:
    """The idle tasks of a pool, and the nursery that owns all of them. At most 1,024 wait idle, more end."""

    def __init__(self, nursery: trio.Nursery) -> None:
        """Serve in ``nursery``, each call in a copy of the context of whoever opens the pool."""
        self._nursery = nursery
        self._context = contextvars.copy_context()
        self._idle: list[_Worker] = []

    def assign(self, job: Job) -> None:
        """Start ``job`` in an idle task, or in a new one."""
        if job.alone:
            self._context.copy().run(self._nursery.start_soon, self._serve_alone, job)
        elif self._idle:
            worker = self._idle.pop()
            worker.job = job
            worker.task.context = self._context.copy()
            trio.lowlevel.reschedule(worker.task)
        else:
            self._context.copy().run(self._nursery.start_soon, self._work, job)

    async def _work(self, job: Job | None) -> None:
        worker = _Worker(trio.lowlevel.current_task(), self._idle)
        while job is not None:
            job = await self._serve(worker, job)

    async def _serve(self, worker: _Worker, job: Job | None) -> Job | None:
        """Serve in one scope until it is cancelled, an answer has to wait or nobody is needed; return the next job."""
        with trio.CancelScope() as scope:
            while job is not None:
                await job.run(scope)
                if job.is_disturbed:
                    scope.deadline = math.inf
                    if scope.cancel_called:
                        break
                if not job.answer_nowait():
                    break
                job = await self._next(worker)
        if job is not None:
            await job.answer()
            job = await self._next(worker)
        return job

    async def _serve_alone(self, job: Job) -> None:
        with trio.CancelScope() as scope:
            await job.run(scope)
        await job.answer()

    async def _next(self, worker: _Worker) -> Job | None:
        if len(self._idle) >= _MAX_IDLE:
            return None
        self._idle.append(worker)
        await trio.lowlevel.wait_task_rescheduled(worker.stop_waiting)
        job, worker.job = worker.job, None
        return job
