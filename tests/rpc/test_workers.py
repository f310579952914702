"""Workers begin call after call in one turn, and nobody notices."""

from __future__ import annotations

import contextvars
import math
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from swimring.rpc.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_seen: contextvars.ContextVar[int | None] = contextvars.ContextVar("seen", default=None)


class _Job:
    alone = False

    def __init__(self, handle: Callable[[], Awaitable[Any]], deadline: float = math.inf) -> None:
        self.deadline = deadline
        self.answered = 0
        self._handle = handle

    async def run(self, _scope: trio.CancelScope) -> None:
        await self._handle()

    def answer_nowait(self) -> bool:
        self.answered += 1
        return True

    async def answer(self) -> None:
        self.answered += 1


async def test_handlers_that_all_wait_all_run_at_once(nursery: trio.Nursery) -> None:
    workers, release, waiting = Workers(nursery), trio.Event(), 0

    async def handle() -> None:
        nonlocal waiting
        waiting += 1
        await release.wait()

    jobs = [_Job(handle) for _ in range(200)]
    for job in jobs:
        workers.assign(job)
    await trio.testing.wait_all_tasks_blocked()
    assert waiting == 200
    release.set()
    await trio.testing.wait_all_tasks_blocked()
    assert [job.answered for job in jobs] == [1] * 200
    nursery.cancel_scope.cancel()


async def test_calls_of_one_turn_see_their_own_context_and_deadline_before_and_after_waiting(
    nursery: trio.Nursery,
) -> None:
    workers = Workers(nursery)
    soon = trio.current_time() + 60
    deadlines = [math.inf, soon, soon, math.inf, soon + 1, math.inf] * 20
    found: list[tuple[int, int | None, int | None, float, float]] = []

    def handler(number: int, *, waits: bool) -> Callable[[], Awaitable[None]]:
        async def handle() -> None:
            inherited, first = _seen.get(), trio.current_effective_deadline()
            _seen.set(number)
            if waits:
                await trio.lowlevel.checkpoint()
            found.append((number, inherited, _seen.get(), first, trio.current_effective_deadline()))

        return handle

    for number, deadline in enumerate(deadlines):
        workers.assign(_Job(handler(number, waits=number % 4 == 0), deadline))
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(found) == [(number, None, number, when, when) for number, when in enumerate(deadlines)]
    nursery.cancel_scope.cancel()


async def test_a_deadline_ends_its_own_call_and_no_other(nursery: trio.Nursery, autojump_clock: object) -> None:
    workers, ended = Workers(nursery), []

    def handler(number: int) -> Callable[[], Awaitable[None]]:
        async def handle() -> None:
            await trio.sleep(10)
            ended.append(number)

        return handle

    jobs = [_Job(handler(number), trio.current_time() + 5 if number % 2 else math.inf) for number in range(40)]
    for job in jobs:
        workers.assign(job)
    await trio.sleep(20)
    assert sorted(ended) == list(range(0, 40, 2))
    assert all(job.answered == 1 for job in jobs)
    nursery.cancel_scope.cancel()


async def test_the_deadline_of_a_call_that_is_over_disturbs_no_later_call(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    workers, ended = Workers(nursery), []

    async def at_once() -> None:
        ended.append(trio.current_effective_deadline())

    async def later() -> None:
        await trio.sleep(10)
        ended.append(trio.current_effective_deadline())

    began = trio.current_time()
    jobs = [_Job(at_once, began + 5), _Job(later), _Job(at_once, began + 30), _Job(later, began + 60)]
    for job in jobs:
        workers.assign(job)
        await trio.sleep(12)
        assert len(nursery.child_tasks) == 1
    assert ended == [job.deadline for job in jobs]
    assert [job.answered for job in jobs] == [1] * 4
    nursery.cancel_scope.cancel()


async def test_a_worker_called_as_the_deadline_of_its_last_call_passes_serves_the_next(
    nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    workers, ended = Workers(nursery), []

    async def handle() -> None:
        await trio.lowlevel.checkpoint()
        ended.append(trio.current_effective_deadline())

    first, second = _Job(handle, trio.current_time() + 5), _Job(handle)
    workers.assign(first)
    await trio.testing.wait_all_tasks_blocked()
    workers.assign(second)
    mock_clock.jump(6)
    await trio.testing.wait_all_tasks_blocked()
    assert ended == [first.deadline, second.deadline]
    assert (first.answered, second.answered, len(nursery.child_tasks)) == (1, 1, 1)
    nursery.cancel_scope.cancel()


async def test_the_stack_of_a_worker_shows_where_its_handler_waits(nursery: trio.Nursery) -> None:
    workers, release = Workers(nursery), trio.Event()

    async def deepest() -> None:
        await release.wait()

    async def deeper() -> None:
        await deepest()

    async def handle() -> None:
        await trio.lowlevel.checkpoint()
        await deeper()

    for _ in range(3):
        workers.assign(_Job(handle))
    await trio.testing.wait_all_tasks_blocked()
    stacks = [[frame.f_code.co_name for frame, _line in task.iter_await_frames()] for task in nursery.child_tasks]
    handlers = ["run", "handle", "deeper", "deepest", "wait", "wait_task_rescheduled"]
    waiting = [stack for stack in stacks if stack[2 : 2 + len(handlers)] == handlers]
    assert len(waiting) == 3, stacks
    assert all(stack[:2] == ["_work", "_serve"] for stack in waiting)
    release.set()
    await trio.testing.wait_all_tasks_blocked()
    idle = [[frame.f_code.co_name for frame, _line in task.iter_await_frames()] for task in nursery.child_tasks]
    assert all("handle" not in stack for stack in idle)
    nursery.cancel_scope.cancel()


async def test_what_is_thrown_into_a_waiting_handler_arrives_there(nursery: trio.Nursery) -> None:
    workers, met = Workers(nursery), []

    async def handle() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            met.append("cancelled")
            raise
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            met.append("cleaned up")

    workers.assign(_Job(handle))
    await trio.testing.wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()
    await trio.lowlevel.cancel_shielded_checkpoint()
    with trio.CancelScope(shield=True):
        await trio.testing.wait_all_tasks_blocked()
    assert met == ["cancelled", "cleaned up"]


async def test_a_burst_of_calls_lets_other_tasks_have_their_turn(nursery: trio.Nursery) -> None:
    workers, done, seen = Workers(nursery), 0, []

    async def handle() -> None:
        nonlocal done
        done += 1

    for _ in range(100):
        workers.assign(_Job(handle))
    while done < 100:
        await trio.lowlevel.checkpoint()
        seen.append(done)
    # In each round of the event loop both tasks run once, in any order: at most two turns of 32 lie between two looks.
    assert all(after - before <= 64 for before, after in zip([0, *seen], seen, strict=False))
    nursery.cancel_scope.cancel()
