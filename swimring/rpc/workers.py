"""Tasks that serve calls, kept for the next call: a new task and scope for each would cost half the throughput.

Calls wait in one queue. A worker that attends to it begins one after the other without a turn of the event loop in
between, for most handlers end without ever waiting. When one does wait, the worker stays with it, and others are woken
for what is left in the queue: two for each that waits, so a burst of handlers that all wait begins within few turns.

A worker keeps its cancel scope until it is cancelled and sets its deadline for each call that has another one than the
call before. Each call gets a fresh context, so nothing of one request is seen by the next. A call with streams gets a
task and a scope of its own: it is long enough not to notice what they cost.
"""

from __future__ import annotations

import contextvars
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

if TYPE_CHECKING:
    import types
    from collections.abc import Awaitable, Callable, Coroutine, Generator

_MAX_IDLE: Final = 1024
_TURN: Final = 32
"""Calls that one worker begins before the other tasks get their turn."""


class Job(Protocol):
    """One call to serve."""

    alone: bool
    """Whether it gets a task of its own, which ends with it."""
    deadline: float
    """When it is over at the latest; `math.inf` for never."""

    def run(self, scope: trio.CancelScope) -> Coroutine[Any, Any, None]:
        """Run the handler inside ``scope``, which a cancel or the deadline cancels. Raises only Cancelled."""

    def answer_nowait(self) -> bool:
        """Send what came out, if it has credit; False if it has to wait."""

    async def answer(self) -> None:
        """Send what came out, outside of the scope: when it was cancelled, or has to wait for credit."""


class _Worker:
    """One task; ``job`` is what it has begun and not answered."""

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
    """The idle tasks of a pool, and the nursery that owns all of them. At most 1,024 wait idle, more end.

    The queue holds only what arrived since the last turn of the event loop: as many calls as peers may have open.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        """Serve in ``nursery``, each call in a copy of the context of whoever opens the pool."""
        self._nursery = nursery
        self._context = contextvars.copy_context()
        self._idle: list[_Worker] = []
        self._queue: deque[Job] = deque()
        self._attending = 0  # at least 1 while there is a queue

    def assign(self, job: Job) -> None:
        """Let a worker begin ``job`` in its next turn, behind what was assigned before."""
        if job.alone:
            self._context.copy().run(self._nursery.start_soon, self._serve_alone, job)
            return
        self._queue.append(job)
        if not self._attending:
            self._call_worker()

    def _call_worker(self) -> None:
        """Have the queue attended to by one more."""
        self._attending += 1
        if self._idle:
            trio.lowlevel.reschedule(self._idle.pop().task)
        else:
            self._context.copy().run(self._nursery.start_soon, self._work)

    def _hand_over(self) -> None:
        """Leave the queue to others."""
        self._attending -= 1
        for _ in range(min(len(self._queue) - self._attending, 2)):
            self._call_worker()

    async def _work(self) -> None:
        worker, staying = _Worker(trio.lowlevel.current_task(), self._idle), True
        while staying:
            with trio.CancelScope() as scope:
                staying = await self._serve(worker, scope)
            if worker.job is not None:
                job, worker.job = worker.job, None
                await job.answer()
            elif not scope.cancelled_caught:  # else the deadline of its last job has passed, and it was idle
                continue
            staying = await self._idle_until_called(worker)

    async def _serve(self, worker: _Worker, scope: trio.CancelScope) -> bool:
        """Serve until the scope is spent or an answer has to wait, `_Worker.job` says whose; False if nobody is needed.

        The scope keeps the deadline of the last job, since to clear it costs as much as to set it for the next one.
        """
        while not scope.cancel_called:
            rest = self._attend(worker, scope)
            if worker.job is not None:
                self._hand_over()
                if rest is not None:
                    await rest
                if rest is None or scope.cancel_called or not worker.job.answer_nowait():
                    return True
                worker.job = None
            elif self._queue:
                await trio.lowlevel.cancel_shielded_checkpoint()
                continue
            else:
                self._attending -= 1
            if not await self._idle_until_called(worker):
                return False
        return True

    def _attend(self, worker: _Worker, scope: trio.CancelScope) -> Awaitable[None] | None:
        """Begin calls until one waits, whose rest is returned, or has an answer that waits; at most some for one turn.

        That one is `_Worker.job`; the others are answered.
        """
        queue, deadline = self._queue, scope.deadline
        for _ in range(_TURN):
            if not queue:
                break
            job = worker.job = queue.popleft()
            if job.deadline != deadline:
                scope.deadline = deadline = job.deadline
            context, running = self._context.copy(), job.run(scope)
            try:
                trap = context.run(running.send, None)
            except StopIteration:
                if not job.answer_nowait():
                    break
                worker.job = None
            else:
                worker.task.context = context
                return _Begun(running, trap)
        return None

    async def _idle_until_called(self, worker: _Worker) -> bool:
        """Wait for work; False if enough others do."""
        if len(self._idle) >= _MAX_IDLE:
            return False
        self._idle.append(worker)
        await trio.lowlevel.wait_task_rescheduled(worker.stop_waiting)
        return True

    async def _serve_alone(self, job: Job) -> None:
        with trio.CancelScope(deadline=job.deadline) as scope:
            await job.run(scope)
        await job.answer()


class _Begun:
    """A coroutine that has begun to wait, to be awaited from there on: as if by whoever had begun it.

    It passes for the coroutine itself where somebody follows what awaits what (`trio.lowlevel.Task.iter_await_frames`),
    so that the stack of a worker shows where its handler is.
    """

    __slots__ = ("_running", "_trap", "close", "send", "throw")

    def __init__(self, running: Coroutine[Any, Any, None], trap: Any) -> None:
        """``trap`` is what it waits with, for Trio to see."""
        self._running: Any = running
        self._trap = trap
        self.send, self.throw, self.close = running.send, running.throw, running.close

    def __await__(self) -> Generator[Any, Any, None]:
        return self

    def __iter__(self) -> _Begun:
        return self

    def __next__(self) -> Any:
        trap, self._trap = self._trap, None
        return self.send(None) if trap is None else trap

    @property
    def cr_frame(self) -> types.FrameType | None:
        """The outermost frame of the coroutine."""
        frame: types.FrameType | None = self._running.cr_frame
        return frame

    @property
    def cr_await(self) -> Any:
        """What it awaits."""
        return self._running.cr_await
