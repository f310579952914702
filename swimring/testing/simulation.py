"""Runs an async function in virtual time, by a seed: the same seed, the same schedule.

Trio has all the parts but no public switch for a seeded scheduler (its own Hypothesis plug-in uses a private one), so
this module sets private names while a simulation runs and puts them back. It does so for the versions of Trio it was
tested with and refuses others by name.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import math
import random
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

import trio
from trio import _threads as threads
from trio._core import _run as scheduler

from swimring.errors import ConfigError

from .clock import VirtualClock
from .culprits import note_start
from .guard import ask, guarded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableSequence

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

TESTED_WITH: Final = ("0.31", "0.32", "0.33", "0.34", "0.35")
"""The versions of Trio whose private switches are known to do what this module needs."""

_COLLECTED_AFTER: Final = 20_000
"""Objects more than before after which the garbage collector looks at the young ones."""

_ASKED_EVERY: Final = 64

_running: list[int] = []
"""The seed of the simulation that runs in this process, if one does: the switches are global, so it is alone."""


def run_simulation(main: Callable[[*Ts], Awaitable[T]], *args: *Ts, seed: int) -> T:
    """Run ``main(*args)`` to its end in virtual time, and return what it returns.

    Whenever every task waits, the clock jumps to the next deadline: hours take milliseconds. What would not repeat
    (real files, sockets, threads, processes, clocks, the dice of the operating system) is refused where it is called,
    unless that is within `allow`.

    Raises:
        NotRepeatable: that has happened; also if the code under test has swallowed the refusal.
        ConfigError: this version of Trio is not one that was tested, or a simulation is running already.
        BaseException: what ``main`` raises, with a note that names the seed.
    """
    _check_trio()
    if _running:
        raise ConfigError("seed", seed, "one simulation at a time in a process: Trio's scheduler is global")
    _running.append(seed)
    clock = VirtualClock()
    try:
        with (
            _seeded_scheduler(seed), _seeded_random(seed), _no_threads(), _light_sleep(clock), _seldom_asked(),
            _seldom_collected(), guarded(run_simulation.__code__),
        ):  # fmt: skip
            return trio.run(main, *args, clock=clock)
    except BaseException as error:
        error.add_note(f"simulation failed with seed={seed}; run_simulation(..., seed={seed}) repeats it")
        raise
    finally:
        _running.clear()


def dice(*purpose: object) -> random.Random:
    """Dice that follow from what they are for, seed included, and from nothing else."""
    return random.Random(" ".join(map(str, purpose)))  # noqa: S311 - to repeat is what they are for


def current_seed() -> int:
    """The seed of the running simulation.

    Raises:
        ConfigError: none is running.
    """
    if not _running:
        raise ConfigError("seed", None, "outside run_simulation a seed has to be given")
    return _running[0]


def _check_trio() -> None:
    if ".".join(trio.__version__.split(".")[:2]) not in TESTED_WITH:
        raise ConfigError("trio", trio.__version__, f"simulation was tested with {', '.join(TESTED_WITH)}")


@contextlib.contextmanager
def _seeded_scheduler(seed: int) -> Iterator[None]:
    """Every batch of runnable tasks is ordered by age, then shuffled by seeded dice.

    Trio keeps tasks and cancel scopes in sets, whose order follows from memory addresses. That order shows when several
    waits are cancelled at once and their abort functions do something, such as sending a frame. So both get a hash
    that follows from the order of their creation instead.
    """
    with contextlib.ExitStack() as undo:
        _replace(undo, scheduler, "_r", new=_Shuffler(seed))
        _replace(undo, scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True)
        births = itertools.count(1)
        _number_tasks(undo, births)
        _number_cancel_scopes(undo, births)
        yield


def _number_tasks(undo: contextlib.ExitStack, births: Iterator[int]) -> None:
    original = scheduler.Task.__init__

    def create(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self._counter = next(births)  # Trio's own counts on from one run to the next
        note_start(self)

    _replace(undo, scheduler.Task, "__init__", new=create)
    _replace(undo, scheduler.Task, "__hash__", new=lambda self: self._counter)


def _number_cancel_scopes(undo: contextlib.ExitStack, births: Iterator[int]) -> None:
    original = scheduler.CancelStatus.__init__
    numbers: dict[int, int] = {}

    def create(self: Any, *args: Any, **kwargs: Any) -> None:
        numbers[id(self)] = next(births)  # an address is used again only by a newer object, which comes by here
        original(self, *args, **kwargs)

    _replace(undo, scheduler.CancelStatus, "__init__", new=create)
    _replace(undo, scheduler.CancelStatus, "__hash__", new=lambda self: numbers.get(id(self), 0))


class _Shuffler(random.Random):
    """Most batches are of one task."""

    def shuffle(self, x: MutableSequence[Any]) -> None:
        if len(x) > 1:
            super().shuffle(x)


@contextlib.contextmanager
def _seeded_random(seed: int) -> Iterator[None]:
    """Applications use the dice of the module `random`: seed them, and give the old state back."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


@contextlib.contextmanager
def _no_threads() -> Iterator[None]:
    start = vars(threads)["start_thread_soon"]

    def start_if_allowed(*args: Any, **kwargs: Any) -> None:
        ask("a thread of Trio")
        start(*args, **kwargs)

    with contextlib.ExitStack() as undo:
        _replace(undo, threads, "start_thread_soon", new=start_if_allowed)
        yield


@contextlib.contextmanager
def _light_sleep(clock: VirtualClock) -> Iterator[None]:
    """Nearly all that waits for a time only is `trio.sleep`: it costs less when the clock itself wakes it."""

    async def sleep(seconds: float) -> None:
        if math.isnan(seconds) or seconds < 0:
            await original(seconds)  # which says what is wrong
        await clock.sleep_until(clock.current_time() + seconds)

    async def sleep_until(deadline: float) -> None:
        if math.isnan(deadline):
            await original_until(deadline)
        await clock.sleep_until(deadline)

    original, original_until = trio.sleep, trio.sleep_until
    with contextlib.ExitStack() as undo:
        _replace(undo, trio, "sleep", new=functools.wraps(original)(sleep))
        _replace(undo, trio, "sleep_until", new=functools.wraps(original_until)(sleep_until))
        yield


@contextlib.contextmanager
def _seldom_asked() -> Iterator[None]:
    """The operating system, for events: there are none but what `allow` lets in; while tasks can run, seldom."""
    manager: Any = vars(scheduler)["TheIOManager"]
    if sys.platform == "win32":
        yield
        return
    original, turns = manager.get_events, itertools.count()

    def get_events(self: Any, timeout: float) -> Any:
        if not timeout and next(turns) % _ASKED_EVERY and scheduler.GLOBAL_RUN_CONTEXT.runner.runq:
            return []
        return original(self, timeout)

    with contextlib.ExitStack() as undo:
        _replace(undo, manager, "get_events", new=get_events)
        yield


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Nearly all objects of a simulation end without the garbage collector: a twentieth of its time is saved."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _COLLECTED_AFTER) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _replace(undo: contextlib.ExitStack, owner: object, name: str, *, new: object) -> None:
    if name in vars(owner):
        undo.callback(setattr, owner, name, vars(owner)[name])
    else:
        undo.callback(delattr, owner, name)  # it was inherited
    setattr(owner, name, new)
